// HTTP/2 without TLS by Go's net/http, by prior knowledge: `h2c PORT COUNT` makes that many requests, a hundred at a time.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
)

func main() {
	count, err := strconv.Atoi(os.Args[2])
	check(err)
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: transport}
	ids := make(chan string)
	var workers sync.WaitGroup
	for range 100 {
		workers.Go(func() {
			for id := range ids {
				ask(client, "http://127.0.0.1:"+os.Args[1]+"/echo/"+id, id)
			}
		})
	}
	for number := range count {
		ids <- fmt.Sprintf("g%d", number)
	}
	close(ids)
	workers.Wait()
	transport.CloseIdleConnections()
	fmt.Println(count, "answered")
}

func ask(client *http.Client, url, id string) {
	request, err := http.NewRequest("POST", url, strings.NewReader("said "+id))
	check(err)
	request.Header.Set("X-Id", id)
	answer, err := client.Do(request)
	check(err)
	body, err := io.ReadAll(answer.Body)
	check(err)
	check(answer.Body.Close())
	if answer.ProtoMajor != 2 || string(body) != "echo "+id+" said "+id {
		check(fmt.Errorf("%s: %s %s", id, answer.Proto, body))
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
