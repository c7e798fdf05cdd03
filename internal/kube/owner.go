package kube

import (
	"bytes"
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// unknownManager stands for whoever wrote an ingress that no field manager owns.
const unknownManager = "an unknown field manager"

// statusOf is the field manager whose ingress it is, if it is not ours; said tells
// that the Service has a condition of ours. What no manager owns, as in an object
// whose managedFields were cleared, counts as ours only then.
func statusOf(s *corev1.Service, said bool) string {
	other := ""
	for _, m := range s.ManagedFields {
		switch {
		case !ownsIngress(m):
		case m.Manager == Manager:
			return ""
		default:
			other = m.Manager
		}
	}
	if other == "" && !said {
		return unknownManager
	}
	return other
}

// ownsIngress reads the fields of an entry, or believes one that thin has made.
func ownsIngress(m metav1.ManagedFieldsEntry) bool {
	if m.FieldsV1 == nil {
		return m.FieldsType == ingressOnly
	}
	raw := m.FieldsV1.GetRawBytes()
	if !bytes.Contains(raw, []byte(`"f:ingress"`)) { // most entries
		return false
	}
	var fields struct {
		Status struct {
			LoadBalancer struct {
				Ingress json.RawMessage `json:"f:ingress"`
			} `json:"f:loadBalancer"`
		} `json:"f:status"`
	}
	return json.Unmarshal(raw, &fields) == nil && fields.Status.LoadBalancer.Ingress != nil
}

// ingressOnly marks an entry of which only one thing is kept: that it owns the
// ingress.
const ingressOnly = "ingress"

// thin makes of managedFields, which are half of an object's size, what statusOf
// needs of them.
func thin(all []metav1.ManagedFieldsEntry) []metav1.ManagedFieldsEntry {
	var kept []metav1.ManagedFieldsEntry
	for _, m := range all {
		if ownsIngress(m) {
			kept = append(kept, metav1.ManagedFieldsEntry{Manager: m.Manager, FieldsType: ingressOnly})
		}
	}
	return kept
}
