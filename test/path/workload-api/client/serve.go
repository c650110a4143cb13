// A server of the SPIFFE Workload API by the messages of go-spiffe and gRPC for Go: an authority of its own, and another SVID as often as it is told.
//
//	client serve <socket> <trust domain> <ms between SVIDs> <path> [<path> …]
//
// It says in a line of JSON each what it gave out, and ends with its standard input. A line "root" makes another root, which is told beside the old
// one; "sign" has the newest sign; "none" takes all SVIDs away; "some" gives them again.
package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const svidLife = 10 * time.Minute

type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

type server struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	domain  string
	paths   []string
	foreign authority

	mu      sync.Mutex
	roots   []authority
	signer  authority
	isNone  bool
	svids   *workload.X509SVIDResponse
	bundles *workload.X509BundlesResponse
	changed chan struct{}
}

func serve(socket, domain, every string, paths []string) {
	ms, err := strconv.Atoi(every)
	must(err)
	s := &server{domain: domain, paths: paths, foreign: newAuthority("other.example"), changed: make(chan struct{})}
	s.signer = newAuthority(domain)
	s.roots = []authority{s.signer}
	s.renew()
	listener, err := net.Listen("unix", socket)
	must(err)
	served := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(served, s)
	go func() { must(served.Serve(listener)) }()
	say("serving", map[string]any{"socket": socket})
	go func() {
		for range time.Tick(time.Duration(ms) * time.Millisecond) {
			s.renew()
		}
	}()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		s.mu.Lock()
		switch lines.Text() {
		case "root":
			s.roots = append(s.roots, newAuthority(domain))
		case "sign":
			s.signer = s.roots[len(s.roots)-1]
		case "none", "some":
			s.isNone = lines.Text() == "none"
		}
		s.mu.Unlock()
		s.renew()
	}
	served.Stop()
}

// Another key and certificate for each path, and all streams are told.
func (s *server) renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	bundle := []byte{}
	for _, root := range s.roots {
		bundle = append(bundle, root.certificate.Raw...)
	}
	federated := map[string][]byte{"spiffe://other.example": s.foreign.certificate.Raw}
	svids := []*workload.X509SVID{}
	given := []string{}
	for _, path := range s.paths {
		id := "spiffe://" + s.domain + path
		leaf, key := s.signer.leaf(id)
		pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
		must(err)
		svids = append(svids, &workload.X509SVID{SpiffeId: id, X509Svid: leaf.Raw, X509SvidKey: pkcs8, Bundle: bundle})
		given = append(given, leaf.SerialNumber.Text(16))
	}
	s.svids = &workload.X509SVIDResponse{Svids: svids, FederatedBundles: federated}
	all := map[string][]byte{"spiffe://" + s.domain: bundle}
	for name, roots := range federated {
		all[name] = roots
	}
	s.bundles = &workload.X509BundlesResponse{Bundles: all}
	close(s.changed)
	s.changed = make(chan struct{})
	say("given", map[string]any{"serials": given, "roots": len(s.roots), "none": s.isNone})
}

func (s *server) FetchX509SVID(_ *workload.X509SVIDRequest, stream workload.SpiffeWorkloadAPI_FetchX509SVIDServer) error {
	return s.follow(stream.Context(), func() error { return stream.Send(s.svids) })
}

func (s *server) FetchX509Bundles(_ *workload.X509BundlesRequest, stream workload.SpiffeWorkloadAPI_FetchX509BundlesServer) error {
	return s.follow(stream.Context(), func() error { return stream.Send(s.bundles) })
}

func (s *server) follow(ctx context.Context, send func() error) error {
	headers, _ := metadata.FromIncomingContext(ctx)
	if values := headers.Get("workload.spiffe.io"); len(values) != 1 || values[0] != "true" {
		return status.Error(codes.InvalidArgument, "security header missing from request")
	}
	for {
		s.mu.Lock()
		changed := s.changed
		if s.isNone {
			s.mu.Unlock()
			return status.Error(codes.PermissionDenied, "no identity issued")
		}
		err := send()
		s.mu.Unlock()
		if err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func newAuthority(domain string) authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	id := keyID(key)
	template := template("SPIFFE", "spiffe://"+domain, time.Hour)
	template.IsCA = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	template.SubjectKeyId = id
	return authority{certificate: sign(template, template, key, key), key: key}
}

// As SPIRE makes them.
func (a authority) leaf(id string) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	template := template("SPIRE", id, svidLife)
	template.SubjectKeyId = keyID(key)
	template.KeyUsage = x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement | x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	return sign(template, a.certificate, key, a.key), key
}

func keyID(key *ecdsa.PrivateKey) []byte {
	point, err := key.PublicKey.Bytes()
	must(err)
	id := sha1.Sum(point)
	return id[:]
}

// An authority and what it signs have other names: OpenSSL takes a leaf for self-signed otherwise.
func template(organization, id string, life time.Duration) *x509.Certificate {
	uri, err := url.Parse(id)
	must(err)
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	must(err)
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Country: []string{"US"}, Organization: []string{organization}},
		NotBefore:             time.Now().Add(-10 * time.Second),
		NotAfter:              time.Now().Add(life),
		URIs:                  []*url.URL{uri},
		BasicConstraintsValid: true,
	}
}

func sign(template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	must(err)
	certificate, err := x509.ParseCertificate(der)
	must(err)
	return certificate
}
