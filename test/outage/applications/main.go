// An application with gocql, which reads a row again and again until its input ends. Its token is in a file that somebody else renews; the driver
// reads it for each connection. Prints {"answered": …, "failed": …, "error": …} four times a second.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

type counts struct {
	Answered int    `json:"answered"`
	Failed   int    `json:"failed"`
	Error    string `json:"error,omitempty"`
}

func tokenFromFile(*gocql.HostInfo) (gocql.Authenticator, error) {
	token, err := os.ReadFile(os.Getenv("RF_TOKEN_FILE"))
	return gocql.PasswordAuthenticator{Username: "token", Password: strings.TrimSpace(string(token))}, err
}

// The chain is verified, the address is not: the mesh's certificates here are of SPIFFE ids.
func meshTLS() *tls.Config {
	bundle, err := os.ReadFile(os.Getenv("RF_CA"))
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	verify := func(state tls.ConnectionState) error {
		intermediates := x509.NewCertPool()
		for _, certificate := range state.PeerCertificates[1:] {
			intermediates.AddCert(certificate)
		}
		_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates})
		return err
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, VerifyConnection: verify}
}

func main() {
	cluster := gocql.NewCluster(os.Getenv("RF_HOST"))
	cluster.Port, _ = strconv.Atoi(os.Getenv("RF_PORT"))
	cluster.AuthProvider = tokenFromFile
	cluster.SslOpts = &gocql.SslOptions{Config: meshTLS()}
	cluster.Timeout = 5 * time.Second
	// A minute by default.
	cluster.ReconnectInterval = 10 * time.Second
	cluster.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(gocql.DCAwareRoundRobinPolicy(os.Getenv("RF_DC")))
	session, err := cluster.CreateSession()
	if err != nil {
		panic(err)
	}
	defer session.Close()

	var mutex sync.Mutex
	var so counts
	show := func() {
		mutex.Lock()
		defer mutex.Unlock()
		line, _ := json.Marshal(so)
		fmt.Println(string(line))
	}
	stopped := make(chan struct{})
	var working sync.WaitGroup
	work := func() {
		defer working.Done()
		for {
			select {
			case <-stopped:
				return
			case <-time.After(50 * time.Millisecond):
			}
			err := session.Query(os.Getenv("RF_QUERY")).Idempotent(true).Exec()
			mutex.Lock()
			if err == nil {
				so.Answered++
			} else {
				so.Failed++
				so.Error = err.Error()
			}
			mutex.Unlock()
		}
	}
	working.Add(2)
	go work()
	go work()
	go func() {
		for range time.Tick(250 * time.Millisecond) {
			show()
		}
	}()
	io.Copy(io.Discard, os.Stdin)
	close(stopped)
	working.Wait()
	show()
}
