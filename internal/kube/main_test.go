package kube_test

import (
	"testing"

	"github.com/heraldlb/herald/internal/kube/kubetest"
)

func TestMain(m *testing.M) { kubetest.Main(m) }
