// The driver program for Go `gocql` (github.com/apache/cassandra-gocql-driver/v2, protocol v5 and v4), as published. It takes
// its target from the environment (see test/e2e/README.md), runs the cases of ../cases.ts and prints one line each.
package main

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net"
	"os"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
	"github.com/apache/cassandra-gocql-driver/v2/lz4"
	"gopkg.in/inf.v0"
)

var (
	contacts    = strings.Split(envOr("RF_CONTACTS", "127.0.0.1:9042"), ",")
	localDC     = envOr("RF_DC", "datacenter1")
	first       = envOr("RF_KEYSPACE", "e2e_go") + "_a"
	second      = envOr("RF_KEYSPACE", "e2e_go") + "_b"
	replication = fmt.Sprintf("{'class': 'NetworkTopologyStrategy', '%s': %s}", localDC, envOr("RF_REPLICATION", "1"))
	protocol, _ = strconv.Atoi(envOr("RF_PROTOCOL", "5"))
)

func envOr(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

type sample struct {
	name  string
	value any
}

func samples() []sample {
	timeUUID, _ := gocql.ParseUUID("50554d6e-29bb-11e5-b345-feff819cdc9f")
	someUUID, _ := gocql.ParseUUID("f4c2a2a0-6d2b-4d0b-9c0e-1a2b3c4d5e6f")
	varint, _ := new(big.Int).SetString("-170141183460469231731687303715884105729", 10)
	return []sample{
		{"ascii", "plain ascii"},
		{"bigint", int64(math.MinInt64)},
		{"blob", []byte{0, 1, 0x7f, 0x80, 0xff}},
		{"boolean", true},
		{"date", time.Date(1969, 7, 20, 0, 0, 0, 0, time.UTC)},
		{"decimal", inf.NewDec(-123456789000000001, 9)},
		{"double", -1.7976931348623157e308},
		{"duration", gocql.Duration{Months: 1, Days: 2, Nanoseconds: 3}},
		{"float", float32(1.5)},
		{"inet", net.ParseIP("2001:db8::ff")},
		{"int", int(math.MinInt32)},
		{"smallint", int16(math.MinInt16)},
		{"text", "grüße, 世界 🚀"},
		{"time", 24*time.Hour - time.Nanosecond},
		{"timestamp", time.UnixMilli(-1).UTC()},
		{"timeuuid", timeUUID},
		{"tinyint", int8(math.MinInt8)},
		{"uuid", someUUID},
		{"varchar", ""},
		{"varint", varint},
	}
}

// cluster gives the options of one identity; without RF_TLS a plain connection.
func cluster(identity string) *gocql.ClusterConfig {
	config := gocql.NewCluster(contacts...)
	config.ProtoVersion = protocol
	config.Consistency = gocql.LocalQuorum
	config.Timeout = 20 * time.Second
	config.ConnectTimeout = 10 * time.Second
	config.NumConns = 1
	config.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(gocql.DCAwareRoundRobinPolicy(localDC))
	config.Metadata.CacheMode = gocql.Full
	if _, port, err := net.SplitHostPort(contacts[0]); err == nil {
		config.Port, _ = strconv.Atoi(port)
	}
	if envOr("RF_COMPRESSION", "none") == "lz4" {
		config.Compressor = lz4.LZ4Compressor{}
	}
	if user := os.Getenv("RF_USER"); user != "" {
		config.Authenticator = gocql.PasswordAuthenticator{Username: user, Password: os.Getenv("RF_PASSWORD")}
	}
	if os.Getenv("RF_TLS") == "1" {
		config.SslOpts = &gocql.SslOptions{Config: tlsConfig(identity), EnableHostVerification: os.Getenv("RF_SERVER_NAME") != ""}
	}
	return config
}

// tlsConfig always verifies the server's chain, and its name where RF_SERVER_NAME gives one.
func tlsConfig(identity string) *tls.Config {
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(os.Getenv("RF_CA"))
	if err != nil || !roots.AppendCertsFromPEM(pem) {
		panic(fmt.Sprintf("no certificate authority in RF_CA: %v", err))
	}
	own, err := tls.LoadX509KeyPair(os.Getenv("RF_"+identity+"CERT"), os.Getenv("RF_"+identity+"KEY"))
	if err != nil {
		panic(err)
	}
	config := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12}
	if name := os.Getenv("RF_SERVER_NAME"); name != "" {
		config.ServerName = name
		return config
	}
	config.InsecureSkipVerify = true // the name only: the chain is verified below
	config.VerifyConnection = func(state tls.ConnectionState) error {
		intermediates := x509.NewCertPool()
		for _, certificate := range state.PeerCertificates[1:] {
			intermediates.AddCert(certificate)
		}
		_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates})
		return err
	}
	return config
}

var (
	failures int
	session  *gocql.Session
	nextKey  = 100
)

func run(name string, body func() error) {
	err := func() (err error) {
		defer func() {
			if fault := recover(); fault != nil {
				err = fmt.Errorf("panic: %v", fault)
			}
		}()
		return body()
	}()
	if err != nil {
		failures++
		fmt.Printf("not ok %s: %s\n", name, strings.Join(strings.Fields(fmt.Sprintf("%T: %v", err, err)), " "))
		return
	}
	fmt.Printf("ok %s\n", name)
}

func same(got, want any) error {
	if reflect.DeepEqual(got, want) {
		return nil
	}
	return fmt.Errorf("want %v, got %v", want, got)
}

func query(cql string, values ...any) *gocql.Query {
	return session.Query(strings.NewReplacer("$A", first, "$B", second).Replace(cql), values...)
}

func all(bodies ...func() error) error {
	for _, body := range bodies {
		if err := body(); err != nil {
			return err
		}
	}
	return nil
}

func exec(cql string, values ...any) func() error {
	return func() error { return query(cql, values...).Exec() }
}

func connect() (err error) {
	session, err = cluster("").CreateSession()
	return err
}

func hosts() error {
	known := session.GetHosts()
	least, _ := strconv.Atoi(envOr("RF_HOSTS_MIN", "1"))
	if len(known) < least {
		return fmt.Errorf("%d hosts known", len(known))
	}
	for _, host := range known {
		if !host.IsUp() || host.DataCenter() != localDC {
			return fmt.Errorf("host %v", host)
		}
	}
	return nil
}

// columnsOf waits for the driver's own metadata, which it refreshes on the schema events of its control connection.
func columnsOf(table string, want []string) error {
	var got []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		got = nil
		if keyspace, err := session.KeyspaceMetadata(first); err == nil {
			if found, there := keyspace.Tables[table]; there {
				for name := range found.Columns {
					got = append(got, name)
				}
			}
		}
		sort.Strings(got)
		if reflect.DeepEqual(got, want) {
			return nil
		}
	}
	return fmt.Errorf("columns of %s: want %v, got %v", table, want, got)
}

func schemaChange() error {
	natives := []string{}
	for _, sample := range samples() {
		natives = append(natives, fmt.Sprintf("c_%s %s", sample.name, sample.name))
	}
	return all(
		exec("DROP KEYSPACE IF EXISTS $A"),
		exec("DROP KEYSPACE IF EXISTS $B"),
		exec("CREATE KEYSPACE $A WITH replication = "+replication),
		exec("CREATE KEYSPACE $B WITH replication = "+replication),
		exec("CREATE TABLE $A.natives (k int PRIMARY KEY, "+strings.Join(natives, ", ")+")"),
		exec("CREATE TYPE $A.address (street text, number int, tags frozen<list<text>>)"),
		exec(`CREATE TABLE $A.shapes (k int PRIMARY KEY, l list<int>, s set<text>, m map<text, int>,
			n map<text, frozen<list<frozen<list<text>>>>>, t tuple<int, text, boolean>, u frozen<address>, v vector<float, 3>)`),
		exec("CREATE TABLE $A.rows (p int, c int, v text, PRIMARY KEY (p, c))"),
		exec("CREATE TABLE $A.kv (k int PRIMARY KEY, v text)"),
		exec("CREATE TABLE $B.kv (k int PRIMARY KEY, v text)"),
		exec("CREATE TABLE $A.counters (k int PRIMARY KEY, c counter)"),
		exec("CREATE TABLE $A.brief (k int PRIMARY KEY, v text)"),
		func() error { return columnsOf("brief", []string{"k", "v"}) },
		exec("ALTER TABLE $A.brief ADD w int"),
		func() error { return columnsOf("brief", []string{"k", "v", "w"}) },
		exec("DROP TABLE $A.brief"),
		func() error { return columnsOf("brief", nil) },
	)
}

func prepareAndExecute() error {
	var bound, named string
	return all(
		exec("INSERT INTO $A.kv (k, v) VALUES (?, ?)", 1, "one"),
		func() error { return query("SELECT v FROM $A.kv WHERE k = ?", 1).Scan(&bound) },
		func() error { return same(bound, "one") },
		func() error {
			return query("SELECT v FROM $A.kv WHERE k = :key", gocql.NamedValue("key", 1)).Scan(&named)
		},
		func() error { return same(named, "one") },
	)
}

// roundTrip writes value, reads it into a new value of the same Go type and returns that.
func roundTrip(table, column string, value any) (any, error) {
	nextKey++
	if err := query("INSERT INTO $A."+table+" (k, "+column+") VALUES (?, ?)", nextKey, value).Exec(); err != nil {
		return nil, err
	}
	got := reflect.New(reflect.TypeOf(value))
	if err := query("SELECT "+column+" FROM $A."+table+" WHERE k = ?", nextKey).Scan(got.Interface()); err != nil {
		return nil, err
	}
	return got.Elem().Interface(), nil
}

func bind(table, column string, value any) func() error {
	return func() error {
		got, err := roundTrip(table, column, value)
		if err != nil {
			return err
		}
		switch want := value.(type) {
		case *inf.Dec:
			return same(got.(*inf.Dec).String(), want.String())
		case *big.Int:
			return same(got.(*big.Int).String(), want.String())
		case time.Time:
			return same(got.(time.Time).UnixMilli(), want.UnixMilli())
		case net.IP:
			return same(got.(net.IP).String(), want.String())
		}
		return same(got, value)
	}
}

func bindCounter() error {
	var count int64
	return all(
		exec("UPDATE $A.counters SET c = c + ? WHERE k = ?", int64(7), 1),
		exec("UPDATE $A.counters SET c = c - ? WHERE k = ?", int64(2), 1),
		func() error { return query("SELECT c FROM $A.counters WHERE k = 1").Scan(&count) },
		func() error { return same(count, int64(5)) },
	)
}

func nativesOf(key int, text *string, number *int) error {
	var gotText *string
	var gotNumber *int
	if err := query("SELECT c_text, c_int FROM $A.natives WHERE k = ?", key).Scan(&gotText, &gotNumber); err != nil {
		return err
	}
	if err := same(gotText, text); err != nil {
		return err
	}
	return same(gotNumber, number)
}

func bindNull() error {
	insert := "INSERT INTO $A.natives (k, c_text, c_int) VALUES (?, ?, ?)"
	return all(
		exec(insert, 1, "here", 5),
		exec(insert, 1, nil, nil),
		func() error { return nativesOf(1, nil, nil) },
	)
}

func bindUnset() error {
	insert := "INSERT INTO $A.natives (k, c_text, c_int) VALUES (?, ?, ?)"
	text, number := "stays", 6
	return all(
		exec(insert, 2, text, 5),
		exec(insert, 2, gocql.UnsetValue, number),
		func() error { return nativesOf(2, &text, &number) },
	)
}

// largeValue is a mebibyte of bytes that do not compress: several segments of v5, each way.
func largeValue() error {
	put := make([]byte, 1024*1024)
	if _, err := rand.Read(put); err != nil {
		return err
	}
	got, err := roundTrip("natives", "c_blob", put)
	if err == nil && !bytes.Equal(got.([]byte), put) {
		err = errors.New("the bytes that came back differ")
	}
	return err
}

func collectionSet() error {
	got, err := roundTrip("shapes", "s", []string{"a", "b", "ü"})
	if err != nil {
		return err
	}
	sort.Strings(got.([]string))
	return same(got, []string{"a", "b", "ü"})
}

func tuple() error {
	var number int
	var text string
	var flag bool
	return all(
		exec("INSERT INTO $A.shapes (k, t) VALUES (?, (?, ?, ?))", 1, 7, "seven", true),
		func() error { return query("SELECT t FROM $A.shapes WHERE k = ?", 1).Scan(&number, &text, &flag) },
		func() error { return same([]any{number, text, flag}, []any{7, "seven", true}) },
	)
}

type address struct {
	Street string   `cql:"street"`
	Number int      `cql:"number"`
	Tags   []string `cql:"tags"`
}

func paging() error {
	for from := 0; from < 10_000; from += 100 {
		batch := session.Batch(gocql.UnloggedBatch)
		for row := from; row < from+100; row++ {
			batch.Query("INSERT INTO "+first+".rows (p, c, v) VALUES (?, ?, ?)", from/1000, row, fmt.Sprintf("row %d", row))
		}
		if err := batch.Exec(); err != nil {
			return err
		}
	}

	// The driver's own paging.
	seen := map[int]bool{}
	var c int
	var v string
	iter := query("SELECT c, v FROM $A.rows").PageSize(500).Iter()
	for iter.Scan(&c, &v) {
		if v != fmt.Sprintf("row %d", c) {
			return fmt.Errorf("row %d holds %q", c, v)
		}
		seen[c] = true
	}
	if err := iter.Close(); err != nil {
		return err
	}
	if len(seen) != 10_000 {
		return fmt.Errorf("%d rows", len(seen))
	}

	// By hand, with the paging state of each page on a new request.
	count, pages := 0, 0
	var state []byte
	for {
		page := query("SELECT c FROM $A.rows").PageSize(500).PageState(state).Iter()
		state = page.PageState()
		if page.NumRows() > 500 {
			return fmt.Errorf("a page of %d rows", page.NumRows())
		}
		count += page.NumRows()
		pages++
		if err := page.Close(); err != nil {
			return err
		}
		if len(state) == 0 {
			break
		}
	}
	if count != 10_000 || pages < 20 {
		return fmt.Errorf("%d rows in %d pages", count, pages)
	}
	return nil
}

func kvOf(want map[int]string) error {
	keys := []int{}
	for key := range want {
		keys = append(keys, key)
	}
	got := map[int]string{}
	var k int
	var v string
	iter := query("SELECT k, v FROM $A.kv WHERE k IN ?", keys).Iter()
	for iter.Scan(&k, &v) {
		got[k] = v
	}
	if err := iter.Close(); err != nil {
		return err
	}
	return same(got, want)
}

func batchOf(kind gocql.BatchType, base int) func() error {
	return func() error {
		want := map[int]string{}
		batch := session.Batch(kind)
		for key := base; key < base+3; key++ {
			want[key] = fmt.Sprintf("b%d", key)
			batch.Query("INSERT INTO "+first+".kv (k, v) VALUES (?, ?)", key, want[key])
		}
		if err := batch.Exec(); err != nil {
			return err
		}
		return kvOf(want)
	}
}

func batchCounter() error {
	batch := session.Batch(gocql.CounterBatch)
	batch.Query("UPDATE "+first+".counters SET c = c + ? WHERE k = ?", int64(2), 2)
	batch.Query("UPDATE " + first + ".counters SET c = c + 3 WHERE k = 3")
	if err := batch.Exec(); err != nil {
		return err
	}
	for _, key := range []int64{2, 3} {
		var count int64
		if err := query("SELECT c FROM $A.counters WHERE k = ?", int(key)).Scan(&count); err != nil {
			return err
		}
		if err := same(count, key); err != nil {
			return err
		}
	}
	return nil
}

// batchMixed: this driver sends what has values as a prepared id and what has none as a string.
func batchMixed() error {
	batch := session.Batch(gocql.LoggedBatch)
	batch.Query("INSERT INTO " + first + ".kv (k, v) VALUES (1020, 'literal')")
	batch.Query("INSERT INTO "+first+".kv (k, v) VALUES (?, ?)", 1021, "prepared")
	batch.Query("INSERT INTO " + first + ".kv (k, v) VALUES (1022, 'literal again')")
	batch.Query("INSERT INTO "+first+".kv (k, v) VALUES (?, ?)", 1023, "prepared again")
	if err := batch.Exec(); err != nil {
		return err
	}
	return kvOf(map[int]string{1020: "literal", 1021: "prepared", 1022: "literal again", 1023: "prepared again"})
}

func lwt() error {
	cas := func(wantApplied bool, wantValue, cql string, values ...any) func() error {
		return func() error {
			row := map[string]any{}
			applied, err := query(cql, values...).MapScanCAS(row)
			if err != nil {
				return err
			}
			if applied != wantApplied {
				return fmt.Errorf("applied is %v: %s", applied, cql)
			}
			if !applied {
				return same(row["v"], wantValue)
			}
			return nil
		}
	}
	insert := "INSERT INTO $A.kv (k, v) VALUES (?, ?) IF NOT EXISTS"
	update := "UPDATE $A.kv SET v = ? WHERE k = ? IF v = ?"
	return all(
		cas(true, "", insert, 2000, "first"),
		cas(false, "first", insert, 2000, "second"),
		cas(false, "first", update, "third", 2000, "other"),
		cas(true, "", update, "third", 2000, "first"),
	)
}

type traceIDs struct{ ids chan []byte }

func (t traceIDs) Trace(id []byte) { t.ids <- append([]byte(nil), id...) }

func tracing() error {
	traces := traceIDs{make(chan []byte, 4)}
	var value string
	if err := query("SELECT v FROM $A.kv WHERE k = ?", 1).Trace(traces).Scan(&value); err != nil {
		return err
	}
	if len(traces.ids) == 0 {
		return errors.New("no trace id")
	}
	id, err := gocql.UUIDFromBytes(<-traces.ids)
	if err != nil {
		return err
	}
	// Cassandra writes its traces a little after the answer.
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		iter := session.Query("SELECT activity FROM system_traces.events WHERE session_id = ?", id).Consistency(gocql.One).Iter()
		rows := iter.NumRows()
		if err := iter.Close(); err != nil {
			return err
		}
		if rows > 0 {
			return nil
		}
	}
	return errors.New("no trace events")
}

// use: this driver sends USE when a session with a keyspace connects, and in v5 names the keyspace in a request.
func use() error {
	for keyspace, value := range map[string]string{first: "in a", second: "in b"} {
		config := cluster("")
		config.Keyspace = keyspace
		other, err := config.CreateSession()
		if err != nil {
			return err
		}
		defer other.Close()
		if err := other.Query("INSERT INTO kv (k, v) VALUES (3000, ?)", value).Exec(); err != nil {
			return err
		}
		var got string
		if err := other.Query("SELECT v FROM kv WHERE k = ?", 3000).Scan(&got); err != nil {
			return err
		}
		if err := same(got, value); err != nil {
			return err
		}
	}
	if protocol < 5 {
		return nil
	}
	var inFirst, inSecond string
	return all(
		func() error { return query("SELECT v FROM kv WHERE k = ?", 3000).SetKeyspace(second).Scan(&inSecond) },
		func() error { return query("SELECT v FROM kv WHERE k = ?", 3000).SetKeyspace(first).Scan(&inFirst) },
		func() error { return same([]string{inFirst, inSecond}, []string{"in a", "in b"}) },
	)
}

// inFlight: one connection to one host, 1,000 requests at once; each must get its own row.
func inFlight() error {
	config := cluster("")
	host, _, _ := net.SplitHostPort(contacts[0])
	config.HostFilter = gocql.WhiteListHostFilter(host)
	config.PoolConfig.HostSelectionPolicy = gocql.RoundRobinHostPolicy()
	single, err := config.CreateSession()
	if err != nil {
		return err
	}
	defer single.Close()
	together := func(body func(key int) error) error {
		var group sync.WaitGroup
		begin, faults := make(chan struct{}), make(chan error, 1000)
		for key := 10_000; key < 11_000; key++ {
			group.Add(1)
			go func() {
				defer group.Done()
				<-begin
				if err := body(key); err != nil {
					faults <- fmt.Errorf("key %d: %w", key, err)
				}
			}()
		}
		close(begin)
		group.Wait()
		close(faults)
		return <-faults
	}
	return all(
		func() error {
			return together(func(key int) error {
				return single.Query("INSERT INTO "+first+".kv (k, v) VALUES (?, ?)", key, fmt.Sprintf("value of %d", key)).Exec()
			})
		},
		func() error {
			return together(func(key int) error {
				var k int
				var v string
				if err := single.Query("SELECT k, v FROM "+first+".kv WHERE k = ?", key).Scan(&k, &v); err != nil {
					return err
				}
				return same([]any{k, v}, []any{key, fmt.Sprintf("value of %d", key)})
			})
		},
	)
}

func hasCode(err error, code int) error {
	var answer gocql.RequestError
	if !errors.As(err, &answer) {
		return fmt.Errorf("not an error of the server: %v", err)
	}
	if answer.Code() != code {
		return fmt.Errorf("code 0x%x, not 0x%x: %v", answer.Code(), code, err)
	}
	return nil
}

func stillUsable(using *gocql.Session) error {
	var key string
	if err := using.Query("SELECT key FROM system.local WHERE key = 'local'").Consistency(gocql.One).Scan(&key); err != nil {
		return err
	}
	return same(key, "local")
}

func errorSyntax() error {
	return all(
		func() error { return hasCode(query("SELEKT * FROM nothing").Exec(), gocql.ErrCodeSyntax) },
		func() error { return hasCode(query("SELECT FROM WHERE").Exec(), gocql.ErrCodeSyntax) },
		func() error { return stillUsable(session) },
	)
}

func errorUnknownTable() error {
	return all(
		func() error { return hasCode(query("SELECT * FROM $A.nothing_here").Exec(), gocql.ErrCodeInvalid) },
		func() error { return hasCode(query("DROP TABLE $A.nothing_here").Exec(), gocql.ErrCodeInvalid) },
		func() error { return stillUsable(session) },
	)
}

func withIdentity(identity string, body func(using *gocql.Session) error) func() error {
	return func() error {
		using, err := cluster(identity).CreateSession()
		if err != nil {
			return err
		}
		defer using.Close()
		return body(using)
	}
}

func refusedReader(reader *gocql.Session) error {
	read := func() error {
		var value string
		if err := reader.Query("SELECT v FROM "+first+".kv WHERE k = ?", 1).Scan(&value); err != nil {
			return err
		}
		return same(value, "one")
	}
	write := "INSERT INTO " + first + ".kv (k, v) VALUES "
	return all(
		read,
		func() error { return hasCode(reader.Query(write+"(1, 'changed')").Exec(), gocql.ErrCodeUnauthorized) },
		func() error {
			return hasCode(reader.Query(write+"(?, ?)", 1, "changed").Exec(), gocql.ErrCodeUnauthorized)
		},
		func() error {
			batch := reader.Batch(gocql.LoggedBatch)
			batch.Query(write + "(1, 'changed')")
			return hasCode(batch.Exec(), gocql.ErrCodeUnauthorized)
		},
		read,
	)
}

func refusedNobody(nobody *gocql.Session) error {
	return all(
		func() error {
			return hasCode(nobody.Query("SELECT v FROM "+first+".kv WHERE k = 1").Exec(), gocql.ErrCodeUnauthorized)
		},
		func() error { return stillUsable(nobody) },
		func() error {
			return hasCode(nobody.Query("DROP TABLE "+first+".kv").Exec(), gocql.ErrCodeUnauthorized)
		},
		func() error { return stillUsable(nobody) },
	)
}

func main() {
	run("connect", connect)
	if session == nil {
		os.Exit(1)
	}
	run("hosts", hosts)
	run("schema change", schemaChange)
	run("prepare and execute", prepareAndExecute)
	for _, sample := range samples() {
		run("bind "+sample.name, bind("natives", "c_"+sample.name, sample.value))
	}
	run("bind counter", bindCounter)
	run("bind null", bindNull)
	run("bind unset", bindUnset)
	run("large value", largeValue)
	run("collection list", bind("shapes", "l", []int{3, 1, 2}))
	run("collection set", collectionSet)
	run("collection map", bind("shapes", "m", map[string]int{"one": 1, "two": 2}))
	run("collection nested frozen", bind("shapes", "n", map[string][][]string{"k": {{"x", "y"}, {"z"}}}))
	run("tuple", tuple)
	run("udt", bind("shapes", "u", address{"Hauptstraße", 7, []string{"home", "old"}}))
	run("vector", bind("shapes", "v", []float32{0.5, -1.25, 3}))
	run("paging 10000", paging)
	run("batch logged", batchOf(gocql.LoggedBatch, 1000))
	run("batch unlogged", batchOf(gocql.UnloggedBatch, 1010))
	run("batch counter", batchCounter)
	run("batch mixed", batchMixed)
	run("lwt", lwt)
	run("tracing", tracing)
	run("use", use)
	run("in flight 1000", inFlight)
	run("error syntax", errorSyntax)
	run("error unknown table", errorUnknownTable)
	for _, other := range []struct {
		name, identity string
		body           func(*gocql.Session) error
	}{{"refused reader", "READER_", refusedReader}, {"refused nobody", "NOBODY_", refusedNobody}} {
		if os.Getenv("RF_"+other.identity+"CERT") == "" {
			fmt.Printf("ok %s # skip no such identity given\n", other.name)
			continue
		}
		run(other.name, withIdentity(other.identity, other.body))
	}
	_ = query("DROP KEYSPACE IF EXISTS $A").Exec()
	_ = query("DROP KEYSPACE IF EXISTS $B").Exec()
	session.Close()
	if failures > 0 {
		os.Exit(1)
	}
}
