// HTTPS by Go's net/http and crypto/tls. The first word says what it does:
//
//	ask URL PROTOCOL WORKERS PATH,SIZE…   gets each path from an own goroutine, and puts as many bytes as SIZE says below /put/;
//	                                      PROTOCOL is h1 or h2, and may be followed by + and the URL of a proxy, or by +late: then each
//	                                      write returns a while after what it sent has gone
//	through URL…                          gets each by way of the proxy that the environment names
//	leave URL FILE                        posts the file over HTTP/2, reads as much as is declared of the answer, and leaves before that ends
//	proxy PORT [CERT KEY]                 a proxy that tunnels, itself behind TLS or not, until its standard input ends
//	serve PORT CERT KEY                   echoes bodies, until its standard input ends
//	deep PORT COUNT                       asks by hand from stacks of many depths, over connections in a wrapper, some of which panic
//	drop PORT COUNT                       asks over connections that are dropped without being closed
//	calls COUNT                           that many exchanges of some bytes with itself: prints what all the calls came to
package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	neturl "net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

func main() {
	runtime.GOMAXPROCS(4)
	switch words := os.Args[2:]; os.Args[1] {
	case "ask":
		ask(words[0], words[1], number(words[2]), words[3:])
	case "leave":
		leave(words[0], words[1])
	case "through":
		through(words)
	case "serve":
		serve(words[0], words[1], words[2])
	case "proxy":
		proxy(words[0], words[1:])
	case "deep":
		deep(words[0], number(words[1]))
	case "stuck":
		stuck(os.Args[2], number(os.Args[3]))
	case "drop":
		drop(words[0], number(words[1]))
	case "calls":
		calls(number(words[0]))
	}
}

func ask(url, protocol string, workers int, paths []string) {
	protocol, through, proxied := strings.Cut(protocol, "+")
	before := runtime.NumGoroutine()
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		ForceAttemptHTTP2: protocol == "h2",
		MaxConnsPerHost:   4,
	}
	if through == "late" {
		transport.DialContext = func(_ context.Context, _, address string) (net.Conn, error) {
			conn, err := net.Dial("tcp", address)
			return &late{conn}, err
		}
	} else if proxied {
		address, err := neturl.Parse(through)
		check(err)
		transport.Proxy = http.ProxyURL(address)
	}
	client := &http.Client{Transport: transport}
	var waiting sync.WaitGroup
	turns := make(chan bool, workers)
	for _, path := range paths {
		name, size, _ := strings.Cut(path, ",")
		waiting.Add(1)
		go func() {
			defer waiting.Done()
			turns <- true
			body := talk(client, "GET", url+"/"+name, nil, protocol)
			talk(client, "PUT", url+"/put/"+name, bytes.NewReader(body), protocol)
			if len(body) != number(size) {
				check(fmt.Errorf("%s: %d bytes", name, len(body)))
			}
			<-turns
		}()
	}
	waiting.Wait()
	settle(transport, before)
}

func through(urls []string) {
	before := runtime.NumGoroutine()
	transport := &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		ForceAttemptHTTP2: true,
	}
	client := &http.Client{Transport: transport}
	for _, url := range urls {
		answer, err := client.Get(url)
		check(err)
		_, err = io.Copy(io.Discard, answer.Body)
		check(err)
		answer.Body.Close()
	}
	settle(transport, before)
}

// Ends the connections, and waits until every goroutine of theirs is gone. An answer may be there before the call has returned that sent the last of its
// request; a program that ended by then would be cut off inside that call (as "stuck" is).
func settle(transport *http.Transport, before int) {
	for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		transport.CloseIdleConnections()
		if time.Now().After(end) {
			check(fmt.Errorf("%d goroutines are left, %d were there", runtime.NumGoroutine(), before))
		}
	}
}

// A connection on which an answer can be there before a write has returned.
type late struct{ net.Conn }

func (l *late) Write(what []byte) (int, error) {
	sent, err := l.Conn.Write(what)
	time.Sleep(5 * time.Millisecond)
	return sent, err
}

func leave(url, file string) {
	sent, err := os.ReadFile(file)
	check(err)
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		ForceAttemptHTTP2: true,
	}, Timeout: time.Minute}
	answer, err := client.Post(url, "application/octet-stream", bytes.NewReader(sent))
	check(err)
	_, err = io.ReadFull(answer.Body, make([]byte, answer.ContentLength))
	check(err)
	// The server's last call has returned by then: what it wrote is told before what it reads.
	time.Sleep(time.Second)
	check(answer.Body.Close())
	client.CloseIdleConnections()
}

func talk(client *http.Client, method, url string, body io.Reader, protocol string) []byte {
	request, err := http.NewRequest(method, url, body)
	check(err)
	answer, err := client.Do(request)
	check(err)
	read, err := io.ReadAll(answer.Body)
	check(err)
	check(answer.Body.Close())
	if answer.StatusCode >= 300 || (answer.ProtoMajor == 2) != (protocol == "h2") {
		check(fmt.Errorf("%s: %s %s", url, answer.Proto, answer.Status))
	}
	return read
}

func serve(port, cert, key string) {
	echo := func(out http.ResponseWriter, in *http.Request) {
		body, err := io.ReadAll(in.Body)
		if err == nil {
			out.Header().Set("Content-Length", strconv.Itoa(len(body)))
			out.Write(body)
		}
		if in.URL.Path == "/held" {
			// The stream does not end before the one who asked is gone.
			out.(http.Flusher).Flush()
			<-in.Context().Done()
		}
	}
	server := &http.Server{Addr: "127.0.0.1:" + port, Handler: http.HandlerFunc(echo)}
	go closes(server)
	if err := server.ListenAndServeTLS(cert, key); err != http.ErrServerClosed {
		check(err)
	}
}

func closes(server *http.Server) {
	io.Copy(io.Discard, os.Stdin)
	server.Close()
}

func proxy(port string, files []string) {
	tunnel := func(out http.ResponseWriter, in *http.Request) {
		there, err := net.Dial("tcp", in.Host)
		check(err)
		here, _, err := out.(http.Hijacker).Hijack()
		check(err)
		io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			io.Copy(there, here)
			there.Close()
		}()
		io.Copy(here, there)
		here.Close()
	}
	// A tunnel takes a connection of its own, so HTTP/1.1 only.
	none := map[string]func(*http.Server, *tls.Conn, http.Handler){}
	server := &http.Server{Addr: "127.0.0.1:" + port, Handler: http.HandlerFunc(tunnel), TLSNextProto: none}
	go closes(server)
	if len(files) == 2 {
		server.ListenAndServeTLS(files[0], files[1])
	} else {
		server.ListenAndServe()
	}
}

// A connection of another type around the real one, which may panic once before it reads.
type wrapper struct {
	name string
	net.Conn
	panics bool
}

func (w *wrapper) Read(into []byte) (int, error) {
	if w.panics {
		w.panics = false
		panic("on purpose")
	}
	return w.Conn.Read(into)
}

func dial(port string) net.Conn {
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	check(err)
	return conn
}

func deep(port string, count int) {
	for number := range count {
		wrapped := &wrapper{name: "wrapped", Conn: dial(port)}
		conn := tls.Client(wrapped, &tls.Config{InsecureSkipVerify: true})
		check(conn.Handshake())
		wrapped.panics = number%4 == 0
		done := make(chan bool)
		go func() {
			down(number, conn, number)
			close(done)
		}()
		<-done
		check(conn.Close())
	}
}

// Each level takes some hundred bytes of a stack that begins with two thousand.
//
//go:noinline
func down(levels int, conn *tls.Conn, number int) byte {
	var filler [104]byte
	filler[levels%104] = byte(number)
	if levels > 0 {
		return down(levels-1, conn, number) + filler[number%104]
	}
	request := fmt.Sprintf("GET /deep?%d HTTP/1.1\r\nHost: x\r\nX-Filler: %s\r\n\r\n", number, strings.Repeat("f", number*7))
	_, err := conn.Write([]byte(request))
	check(err)
	surely(conn)
	var answer [512]byte
	for length := 0; !bytes.HasSuffix(answer[:length], []byte("deep enough\n")); {
		read, err := conn.Read(answer[length:])
		check(err)
		length += read
	}
	return filler[0]
}

// Reads nothing, and is panicked out of where the connection does that.
func surely(conn *tls.Conn) {
	defer func() { recover() }()
	if wrapped := conn.NetConn().(*wrapper); wrapped.panics {
		var none [1]byte
		conn.Read(none[:])
	}
}

// Ends while it writes so much at once, to a peer that reads none of it.
func stuck(port string, size int) {
	conn, err := tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{InsecureSkipVerify: true})
	check(err)
	fmt.Fprintf(conn, "PUT /stuck HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size)
	go conn.Write(make([]byte, size))
	time.Sleep(500 * time.Millisecond)
	os.Exit(0)
}

func drop(port string, count int) {
	for number := range count {
		conn := tls.Client(dial(port), &tls.Config{InsecureSkipVerify: true})
		_, err := fmt.Fprintf(conn, "GET /deep?%d HTTP/1.1\r\nHost: x\r\n\r\n", number)
		check(err)
		answer := make([]byte, 512)
		for length := 0; !bytes.HasSuffix(answer[:length], []byte("deep enough\n")); {
			read, err := conn.Read(answer[length:])
			check(err)
			length += read
		}
		conn = nil
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
}

// What each call of both sides came to goes into a digest of its side. The client's side is HTTP, in one exchange that is as long.
func calls(count int) {
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate()}})
	check(err)
	told := make(chan string)
	go func() {
		conn, err := listener.Accept()
		check(err)
		told <- answer(conn, count)
	}()
	conn, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	check(err)
	sum := sha256.New()
	buffer := make([]byte, 256)
	head := "POST /calls HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
	for number := range count {
		chunk := fmt.Sprintf("%s9\r\n%09d\r\n", head, number)
		head = ""
		var read, written int
		onNewStack(number, func() { written, err = conn.Write([]byte(chunk)) })
		fmt.Fprintln(sum, written, err)
		onNewStack(number, func() { read, err = conn.Read(buffer) })
		fmt.Fprintln(sum, read, err, string(buffer[:max(read, 0)]))
		check(err)
	}
	_, err = conn.Write([]byte("0\r\n\r\n"))
	check(err)
	read, err := io.ReadAll(conn)
	fmt.Fprintln(sum, string(read), err)
	fmt.Println(<-told, conn.Close())
	fmt.Printf("%x\n", sum.Sum(nil))
}

// Does it on a stack that begins with two thousand bytes, of which more or fewer are taken: it grows somewhere in what is called, each time
// somewhere else.
func onNewStack(number int, what func()) {
	done := make(chan bool)
	go func() {
		lower(number%24, what)
		close(done)
	}()
	<-done
}

//go:noinline
func lower(levels int, what func()) byte {
	var filler [56]byte
	filler[levels%56] = byte(levels)
	if levels > 0 {
		return lower(levels-1, what) + filler[0]
	}
	what()
	return filler[0]
}

func answer(conn net.Conn, count int) string {
	sum := sha256.New()
	buffer := make([]byte, 256)
	head := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for number := range count {
		var read, written int
		var err error
		onNewStack(number, func() { read, err = conn.Read(buffer) })
		fmt.Fprintln(sum, read, err, string(buffer[:max(read, 0)]))
		check(err)
		onNewStack(number, func() { written, err = fmt.Fprintf(conn, "%sb\r\n<%09d>\r\n", head, number) })
		head = ""
		fmt.Fprintln(sum, written, err)
	}
	_, err := conn.Read(buffer)
	fmt.Fprintln(sum, err)
	_, err = io.WriteString(conn, "0\r\n\r\n")
	fmt.Fprintln(sum, err, conn.Close())
	return fmt.Sprintf("%x", sum.Sum(nil))
}

func certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	signed, err := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	check(err)
	return tls.Certificate{Certificate: [][]byte{signed}, PrivateKey: key}
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
