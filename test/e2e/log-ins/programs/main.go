// Logs in by each piece of evidence of RF_CASES in turn with gocql, asks for what is permitted and for what is not, and prints a line for each
// (../cases.ts says what).
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"strings"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

// The chain is verified, the address is not: the mesh's certificates here are of SPIFFE ids.
func meshTLS(certFile, keyFile string) *tls.Config {
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
	config := &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, VerifyConnection: verify}
	if certFile != "" {
		own, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			panic(err)
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }
	}
	return config
}

type onBehalf struct{ behalf, user, password string }

func (a onBehalf) Challenge([]byte) ([]byte, gocql.Authenticator, error) {
	return []byte(a.behalf + "\x00" + a.user + "\x00" + a.password), nil, nil
}

func (a onBehalf) Success([]byte) error { return nil }

func open(user, password, certFile, keyFile, behalf string) (*gocql.Session, error) {
	cluster := gocql.NewCluster(os.Getenv("RF_HOST"))
	cluster.Port, _ = strconv.Atoi(os.Getenv("RF_PORT"))
	cluster.ProtoVersion = 5
	cluster.SslOpts = &gocql.SslOptions{Config: meshTLS(certFile, keyFile)}
	if password != "" && behalf != "" {
		cluster.Authenticator = onBehalf{behalf, user, password}
	} else if password != "" {
		cluster.Authenticator = gocql.PasswordAuthenticator{Username: user, Password: password}
	}
	cluster.Consistency = gocql.LocalOne
	cluster.Timeout = 20 * time.Second
	cluster.ConnectTimeout = 20 * time.Second
	cluster.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(gocql.DCAwareRoundRobinPolicy(os.Getenv("RF_DC")))
	return cluster.CreateSession()
}

func say(words ...string) {
	for i, word := range words {
		words[i] = strings.Join(strings.Fields(word), " ")
	}
	fmt.Println(strings.Join(words, "\t"))
}

func query(session *gocql.Session, variable, token string) *gocql.Query {
	query := session.Query(os.Getenv(variable))
	if token == "" {
		return query
	}
	return query.CustomPayload(map[string][]byte{"txn-token": []byte(token)})
}

func denialOf(session *gocql.Session, token string) string {
	err := query(session, "RF_FORBIDDEN", token).Exec()
	var refused gocql.RequestError
	if err == nil {
		return "it was permitted"
	}
	if errors.As(err, &refused) && refused.Code() == gocql.ErrCodeUnauthorized {
		return "denied: " + refused.Message()
	}
	return "failed: " + err.Error()
}

func main() {
	log.SetOutput(io.Discard)
	cases, err := os.ReadFile(os.Getenv("RF_CASES"))
	if err != nil {
		panic(err)
	}
	for _, line := range strings.Split(string(cases), "\n") {
		if line == "" {
			continue
		}
		parts := strings.Split(line, "\t")
		session, err := open(parts[1], parts[2], parts[3], parts[4], parts[5])
		if err != nil {
			say(parts[0], "refused", err.Error())
			continue
		}
		token := ""
		if parts[2] == "" {
			token = parts[5]
		}
		row, err := query(session, "RF_PERMITTED", token).Iter().SliceMap()
		if err != nil || len(row) == 0 {
			say(parts[0], "failed", fmt.Sprint(err))
		} else {
			first := ""
			for _, value := range row[0] {
				first = fmt.Sprint(value)
			}
			say(parts[0], "in", first, denialOf(session, token))
		}
		session.Close()
	}
}
