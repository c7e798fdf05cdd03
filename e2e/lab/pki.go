package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// An authority signs the certificates of one lab, which trusts no other.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := template(name, nil)
	t.IsCA, t.BasicConstraintsValid = true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{cert, key, pemBlock("CERTIFICATE", der)}, nil
}

func template(cn string, orgs []string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: cn, Organization: orgs},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(5, 0, 0),
	}
}

// issue returns a certificate and its key. Hosts make it good for a server.
func (a *authority) issue(cn string, orgs []string, hosts ...string) (cert, key []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	t := template(cn, orgs)
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	for _, h := range hosts {
		if addr := net.ParseIP(h); addr != nil {
			t.IPAddresses = append(t.IPAddresses, addr)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, k.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	key, err = keyPEM(k)
	return pemBlock("CERTIFICATE", der), key, err
}

func keyPEM(k *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(k)
	return pemBlock("EC PRIVATE KEY", der), err
}

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// makePKI writes every key, certificate and kubeconfig of the lab.
func (l *Lab) makePKI(port int) error {
	ca, err := newAuthority("herald-lab-" + l.opts.Name)
	if err != nil {
		return err
	}
	front, err := newAuthority("herald-lab-front-proxy")
	if err != nil {
		return err
	}
	sa, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	saPEM, err := keyPEM(sa)
	if err != nil {
		return err
	}
	for name, b := range map[string][]byte{"ca.crt": ca.pem, "front-proxy-ca.crt": front.pem, "sa.key": saPEM} {
		if err := os.WriteFile(l.path("pki", name), b, 0o600); err != nil {
			return err
		}
	}
	if err := l.makeServerCert(ca); err != nil {
		return err
	}
	return l.makeKubeconfigs(ca, fmt.Sprintf("https://127.0.0.1:%d", port))
}

func (l *Lab) makeServerCert(ca *authority) error {
	cert, key, err := ca.issue("kube-apiserver", []string{"system:masters"}, "127.0.0.1", "::1", CP4, CP6, "10.96.0.1",
		"fd00:96::1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local")
	if err != nil {
		return err
	}
	if err := os.WriteFile(l.path("pki", "apiserver.crt"), cert, 0o600); err != nil {
		return err
	}
	return os.WriteFile(l.path("pki", "apiserver.key"), key, 0o600)
}

func (l *Lab) makeKubeconfigs(ca *authority, hostURL string) error {
	users := []struct{ file, server, user, group string }{
		{"kubeconfig", hostURL, "admin", "system:masters"},
		{"pki/kube-controller-manager.conf", apiURL, "system:kube-controller-manager", ""},
		{"pki/kube-scheduler.conf", apiURL, "system:kube-scheduler", ""},
		{"pki/kube-proxy.conf", apiURL, "system:kube-proxy", ""},
	}
	for _, n := range l.Nodes() {
		users = append(users, struct{ file, server, user, group string }{
			nodeKubeconfig(n.Name), apiURL, "system:node:" + n.Name, "system:nodes",
		})
	}
	for _, u := range users {
		cert, key, err := ca.issue(u.user, []string{u.group})
		if err != nil {
			return err
		}
		if err := os.WriteFile(l.path(u.file), kubeconfig(l.opts.Name, u.server, ca.pem, cert, key), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func nodeKubeconfig(node string) string { return "pki/node-" + node + ".conf" }

func kubeconfig(name, server string, ca, cert, key []byte) []byte {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: %[1]s
contexts:
- name: %[1]s
  context: {cluster: %[1]s, user: %[1]s}
clusters:
- name: %[1]s
  cluster:
    server: %[2]s
    certificate-authority-data: %[3]s
users:
- name: %[1]s
  user:
    client-certificate-data: %[4]s
    client-key-data: %[5]s
`, name, server, b64(ca), b64(cert), b64(key))
}
