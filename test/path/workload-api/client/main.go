// A client of the SPIFFE Workload API by go-spiffe, as published: it says in a line of JSON each what it was given, shows an SVID in a
// handshake on both ends, and does so again after each renewal. It ends with its standard input.
// The file beside it is the other end: `serve` in the place of no argument.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/status"
)

func main() {
	if len(os.Args) > 4 && os.Args[1] == "serve" {
		serve(os.Args[2], os.Args[3], os.Args[4], os.Args[5:])
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	// The address is in SPIFFE_ENDPOINT_SOCKET.
	client, err := workloadapi.New(ctx)
	must(err)
	defer client.Close()

	got, err := client.FetchX509Context(ctx)
	must(err)
	domain := got.DefaultSVID().ID.TrustDomain()
	roots, ok := got.Bundles.Get(domain)
	if !ok {
		must(fmt.Errorf("no bundle of %s", domain))
	}
	say("context", map[string]any{
		"id":     got.DefaultSVID().ID.String(),
		"svids":  len(got.SVIDs),
		"chain":  serials(got.DefaultSVID().Certificates),
		"roots":  serials(roots.X509Authorities()),
		"domain": domain.IDString(),
	})
	bundles, err := client.FetchX509Bundles(ctx)
	must(err)
	names := []string{}
	for _, bundle := range bundles.Bundles() {
		names = append(names, bundle.TrustDomain().IDString())
	}
	say("bundles", map[string]any{"domains": names})

	_, err = client.FetchJWTSVID(ctx, jwtsvid.Params{Audience: "ringfence"})
	say("refused", map[string]any{"call": "FetchJWTSVID", "code": status.Code(err).String()})
	_, err = client.FetchJWTBundles(ctx)
	say("refused", map[string]any{"call": "FetchJWTBundles", "code": status.Code(err).String()})
	_, err = client.ValidateJWTSVID(ctx, "a.b.c", "ringfence")
	say("refused", map[string]any{"call": "ValidateJWTSVID", "code": status.Code(err).String()})

	source, err := workloadapi.NewX509Source(ctx)
	must(err)
	defer source.Close()
	for {
		svid, err := source.GetX509SVID()
		must(err)
		roots, err := source.GetX509BundleForTrustDomain(domain)
		must(err)
		say("source", map[string]any{
			"chain": serials(svid.Certificates),
			"roots": serials(roots.X509Authorities()),
			"tls":   handshake(source, svid.ID),
		})
		if source.WaitUntilUpdated(ctx) != nil {
			return
		}
	}
}

// Both ends show the SVID of the source and verify the other's; the serial number that was shown, or the fault.
func handshake(source *workloadapi.X509Source, id spiffeid.ID) string {
	server, client := net.Pipe()
	deadline := time.Now().Add(30 * time.Second)
	_ = server.SetDeadline(deadline)
	_ = client.SetDeadline(deadline)
	onlyUs := tlsconfig.AuthorizeID(id)
	failed := make(chan error, 1)
	go func() {
		failed <- tls.Server(server, tlsconfig.MTLSServerConfig(source, source, onlyUs)).Handshake()
	}()
	caller := tls.Client(client, tlsconfig.MTLSClientConfig(source, source, onlyUs))
	if err := caller.Handshake(); err != nil {
		return err.Error()
	}
	if err := <-failed; err != nil {
		return err.Error()
	}
	return caller.ConnectionState().PeerCertificates[0].SerialNumber.Text(16)
}

func serials(chain []*x509.Certificate) []string {
	numbers := []string{}
	for _, one := range chain {
		numbers = append(numbers, one.SerialNumber.Text(16))
	}
	return numbers
}

func say(event string, more map[string]any) {
	more["event"] = event
	line, err := json.Marshal(more)
	must(err)
	fmt.Println(string(line))
}

func must(err error) {
	if err != nil {
		say("fault", map[string]any{"text": err.Error()})
		os.Exit(1)
	}
}
