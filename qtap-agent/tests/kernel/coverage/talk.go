// HTTPS by Go's own TLS: `talk ask VERSION PLAN`, `talk serve FOLDER PORT`; plans as in talk.py.
package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	if os.Args[1] == "ask" {
		ask(os.Args[2], os.Args[3])
	} else {
		serve(os.Args[2], os.Args[3])
	}
}

func ask(version, plan string) {
	text, err := os.ReadFile(plan)
	check(err)
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		ForceAttemptHTTP2: version == "2",
	}
	client := &http.Client{Transport: transport}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		words := strings.Split(line, " ")
		var body io.Reader
		if len(words) > 2 {
			content, err := os.ReadFile(words[2])
			check(err)
			body = bytes.NewReader(content)
		}
		request, err := http.NewRequest(words[0], words[1], body)
		check(err)
		answer, err := client.Do(request)
		check(err)
		_, err = io.Copy(io.Discard, answer.Body)
		check(err)
		check(answer.Body.Close())
		if answer.StatusCode >= 300 || (answer.ProtoMajor == 2) != (version == "2") {
			check(fmt.Errorf("%s: %s %s", line, answer.Proto, answer.Status))
		}
	}
	transport.CloseIdleConnections()
	// A program that ends on the answer may end before the call that said its last word; what is told then is a test of its own.
	time.Sleep(100 * time.Millisecond)
}

func serve(folder, port string) {
	handler := func(out http.ResponseWriter, in *http.Request) {
		io.Copy(io.Discard, in.Body)
		if in.Method != "GET" {
			out.WriteHeader(201)
			return
		}
		body, err := os.ReadFile(filepath.Join(folder, filepath.Base(in.URL.Path)))
		check(err)
		out.Header().Set("Content-Length", strconv.Itoa(len(body)))
		out.Write(body)
	}
	server := &http.Server{Addr: "127.0.0.1:" + port, Handler: http.HandlerFunc(handler)}
	check(server.ListenAndServeTLS(filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
