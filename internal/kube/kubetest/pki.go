package kubetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// pki is a certificate authority in a directory.
type pki struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newPKI(dir string) (*pki, error) {
	p := &pki{dir: dir}
	ca := template("herald-kubetest")
	ca.IsCA, ca.BasicConstraintsValid = true, true
	ca.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	if err := p.issue("ca", ca); err != nil {
		return nil, err
	}
	server := template("kube-apiserver")
	server.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	return p, p.issue("apiserver", server)
}

func template(name string, groups ...string) *x509.Certificate {
	return &x509.Certificate{
		Subject:   pkix.Name{CommonName: name, Organization: groups},
		NotBefore: time.Now().Add(-time.Hour),
		NotAfter:  time.Now().Add(24 * time.Hour),
		KeyUsage:  x509.KeyUsageDigitalSignature,
	}
}

// issue writes NAME.crt and NAME.key. The first one signs itself and all others.
func (p *pki) issue(name string, t *x509.Certificate) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if p.cert == nil {
		p.cert, p.key = t, key
	}
	t.SerialNumber = big.NewInt(time.Now().UnixNano())
	der, err := x509.CreateCertificate(rand.Reader, t, p.cert, &key.PublicKey, p.key)
	if err != nil {
		return fmt.Errorf("certificate of %s: %w", name, err)
	}
	if p.cert == t {
		if p.cert, err = x509.ParseCertificate(der); err != nil {
			return err
		}
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	if err := p.write(name+".crt", "CERTIFICATE", der); err != nil {
		return err
	}
	return p.write(name+".key", "EC PRIVATE KEY", keyDER)
}

func (p *pki) write(name, kind string, der []byte) error {
	return os.WriteFile(p.file(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

func (p *pki) file(name string) string { return filepath.Join(p.dir, name) }

func (p *pki) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.cert)
	return pool
}

// Kubeconfig writes a kubeconfig for a user, and returns its path. A service
// account is a user like any other: RBAC goes by the name in the certificate.
func (s *Server) Kubeconfig(user string, groups ...string) string {
	name := strings.NewReplacer(":", "-", "/", "-").Replace(user)
	cert := template(user, groups...)
	cert.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if err := s.pki.issue(name, cert); err != nil {
		panic(err) // the test's own directory is gone
	}
	return s.writeKubeconfig(name, fmt.Sprintf("client-certificate: %q, client-key: %q", s.pki.file(name+".crt"), s.pki.file(name+".key")))
}

// TokenKubeconfig writes a kubeconfig for the bearer of a token.
func (s *Server) TokenKubeconfig(token string) string {
	return s.writeKubeconfig("token", fmt.Sprintf("token: %q", token))
}

func (s *Server) writeKubeconfig(name, user string) string {
	path := s.file(name + ".kubeconfig")
	text := fmt.Sprintf(kubeconfig, loopback("https", s.apiPort), s.pki.file("ca.crt"), user)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		panic(err) // the test's own directory is gone
	}
	return path
}

// ServiceAccount writes a kubeconfig that acts as a service account.
func (s *Server) ServiceAccount(namespace, name string) string {
	return s.Kubeconfig("system:serviceaccount:"+namespace+":"+name,
		"system:serviceaccounts", "system:serviceaccounts:"+namespace, "system:authenticated")
}

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: test, user: {%s}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
current-context: test
`
