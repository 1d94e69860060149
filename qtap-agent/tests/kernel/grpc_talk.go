// What grpc_talk.py says, by grpc-go over TLS: a server in this process, its client in another. `grpc_talk FOLDER`: with the cert.pem and key.pem that are there;
// `grpc_talk FOLDER ADDRESS` is the client.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const service = "lab.v1.Talk"

// Messages are bytes.
type codec struct{}

func (codec) Name() string                       { return "proto" }
func (codec) Marshal(value any) ([]byte, error)  { return *value.(*[]byte), nil }
func (codec) Unmarshal(data []byte, to any) error { *to.(*[]byte) = bytes.Clone(data); return nil }

func unary(name string, answer func(context.Context, []byte) ([]byte, error)) grpc.MethodDesc {
	handler := func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var request []byte
		if err := decode(&request); err != nil {
			return nil, err
		}
		response, err := answer(ctx, request)
		return &response, err
	}
	return grpc.MethodDesc{MethodName: name, Handler: handler}
}

func stream(name string, talk func(grpc.ServerStream) error) grpc.StreamDesc {
	handler := func(_ any, stream grpc.ServerStream) error { return talk(stream) }
	return grpc.StreamDesc{StreamName: name, Handler: handler, ServerStreams: true, ClientStreams: true}
}

// Whoever can be sent to and received from: a server's stream or a client's.
type end interface {
	SendMsg(any) error
	RecvMsg(any) error
}

func send(to end, message []byte) error { return to.SendMsg(&message) }

func receive(from end) ([]byte, error) {
	var message []byte
	err := from.RecvMsg(&message)
	return message, err
}

// All messages until the end, which is none of these.
func each(from end, do func([]byte) error) error {
	for {
		message, err := receive(from)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = do(message)
		}
		if err != nil {
			return err
		}
	}
}

func described() *grpc.ServiceDesc {
	methods := []grpc.MethodDesc{
		unary("Unary", func(ctx context.Context, request []byte) ([]byte, error) {
			return bytes.Repeat([]byte("u"), 2*len(request)), grpc.SetTrailer(ctx, metadata.Pairs("x-said", "last"))
		}),
		unary("Fail", func(context.Context, []byte) ([]byte, error) {
			return nil, status.Error(codes.NotFound, "no such thing: grüße, 100 %")
		}),
	}
	streams := []grpc.StreamDesc{
		stream("ServerStream", func(stream grpc.ServerStream) error {
			_, err := receive(stream)
			for number := 0; number < 5 && err == nil; number++ {
				err = send(stream, bytes.Repeat([]byte("s"), 100+number))
			}
			return err
		}),
		stream("ClientStream", func(stream grpc.ServerStream) error {
			sum := 0
			if err := each(stream, func(request []byte) error { sum += len(request); return nil }); err != nil {
				return err
			}
			return send(stream, []byte(strconv.Itoa(sum)))
		}),
		stream("Both", func(stream grpc.ServerStream) error {
			return each(stream, func(request []byte) error { return send(stream, reversed(request)) })
		}),
		stream("FailLate", func(stream grpc.ServerStream) error {
			if _, err := receive(stream); err != nil {
				return err
			}
			if err := send(stream, []byte("one")); err != nil {
				return err
			}
			return status.Error(codes.ResourceExhausted, "that was all")
		}),
	}
	return &grpc.ServiceDesc{ServiceName: service, HandlerType: (*any)(nil), Methods: methods, Streams: streams}
}

func reversed(message []byte) []byte {
	out := make([]byte, len(message))
	for at, one := range message {
		out[len(message)-1-at] = one
	}
	return out
}

func talk(folder, address string) {
	trusted, err := credentials.NewClientTLSFromFile(filepath.Join(folder, "cert.pem"), "localhost")
	check(err)
	client, err := grpc.NewClient(address, grpc.WithTransportCredentials(trusted), grpc.WithDefaultCallOptions(grpc.ForceCodec(codec{})))
	check(err)
	defer client.Close()
	slowness, _ := strconv.Atoi(os.Getenv("QTAP_TEST_SLOWNESS"))
	ctx, done := context.WithTimeout(context.Background(), time.Duration(max(slowness, 1))*20*time.Second)
	defer done()
	call := func(name string, request []byte) ([]byte, error) {
		var response []byte
		err := client.Invoke(ctx, "/"+service+"/"+name, &request, &response)
		return response, err
	}
	// What was answered to all of these, and how it ended.
	streamed := func(name string, requests ...[]byte) ([][]byte, error) {
		desc := grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
		stream, err := client.NewStream(ctx, &desc, "/"+service+"/"+name)
		check(err)
		for _, request := range requests {
			check(send(stream, request))
		}
		check(stream.CloseSend())
		var all [][]byte
		err = each(stream, func(one []byte) error { all = append(all, one); return nil })
		return all, err
	}
	for _, size := range []int{1, 10, 1000} {
		response, err := call("Unary", bytes.Repeat([]byte("r"), size))
		expect(codes.OK, err, string(response) == string(bytes.Repeat([]byte("u"), 2*size)))
	}
	all, err := streamed("ServerStream", []byte("five"))
	expect(codes.OK, err, len(all) == 5 && len(all[4]) == 104)
	all, err = streamed("ClientStream", make([]byte, 7), make([]byte, 70), make([]byte, 70_000))
	expect(codes.OK, err, len(all) == 1 && string(all[0]) == "70077")
	all, err = streamed("Both", []byte("ab"), []byte("cde"), nil)
	expect(codes.OK, err, len(all) == 3 && string(all[0]) == "ba" && string(all[1]) == "edc")
	_, err = call("Fail", nil)
	expect(codes.NotFound, err, true)
	all, err = streamed("FailLate", nil)
	expect(codes.ResourceExhausted, err, len(all) == 1)
	_, err = call("NotThere", []byte("x"))
	expect(codes.Unimplemented, err, true)
}

func expect(code codes.Code, err error, well bool) {
	if status.Code(err) != code || !well {
		check(fmt.Errorf("%v is wanted, and its answer: %v", code, err))
	}
}

func main() {
	folder := os.Args[1]
	if len(os.Args) > 2 {
		talk(folder, os.Args[2])
		return
	}
	own, err := credentials.NewServerTLSFromFile(filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem"))
	check(err)
	server := grpc.NewServer(grpc.Creds(own), grpc.ForceServerCodec(codec{}))
	server.RegisterService(described(), nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	go server.Serve(listener)
	client := exec.Command(os.Args[0], folder, listener.Addr().String())
	client.Stderr = os.Stderr
	check(client.Run())
	// What the client's end of the connection said last is still on its way.
	time.Sleep(200 * time.Millisecond)
	server.Stop()
	fmt.Println("talked")
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
