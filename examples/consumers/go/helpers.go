// Settings, the connection, errors and files: what the consumer's three jobs need.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log"
	"math/rand"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Codes that waiting does not change: a wrong token or account, or a subscription that a person has to look at.
const hopeless = "AlreadyExists FailedPrecondition InvalidArgument NotFound OutOfRange PermissionDenied Unauthenticated"

// setting returns an environment variable.
func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// connect returns a channel, and the context of its calls. In production, use TLS: see docs/CLIENTS.md.
func connect(address, token string) (context.Context, *grpc.ClientConn) {
	rand.Seed(time.Now().UnixNano())
	pings := keepalive.ClientParameters{Time: 20 * time.Second} // finds out when the gateway has gone without a word
	again := grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: 5 * time.Second}
	again.Backoff.MaxDelay = 5 * time.Second
	channel, err := grpc.Dial(address, grpc.WithInsecure(), grpc.WithKeepaliveParams(pings), grpc.WithConnectParams(again))
	if err != nil {
		log.Fatalln("consumer:", err)
	}
	return metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+token), channel
}

// details returns the reason of an error, and the time to wait before a repeat, nil when the gateway names no time.
func details(err error) (reason string, delay *durationpb.Duration) {
	for _, detail := range status.Convert(err).Details() { // none when the gateway was not reached
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			reason = detail.Reason
		case *errdetails.RetryInfo:
			delay = detail.RetryDelay
		}
	}
	return reason, delay
}

// backOff waits as long as the gateway says, else longer with each attempt. It ends the program when waiting is useless.
func backOff(err error, attempt int) {
	reason, delay := details(err)
	log.Println("consumer:", status.Code(err), reason, status.Convert(err).Message())
	if strings.Contains(hopeless, status.Code(err).String()) || reason == "CONSUMER_REPLACED" {
		os.Exit(1) // What is not settled is delivered again, as after a crash.
	}
	if attempt > 4 {
		attempt = 4
	}
	wait := 100*time.Millisecond + time.Duration(rand.Int63n(int64(500*time.Millisecond)<<attempt))
	if delay != nil {
		wait = delay.AsDuration()
	}
	time.Sleep(wait)
}

// once writes what content returns into a file, whole and durably, unless the file is there.
func once(job, name string, content func() (note, error)) error {
	folder, file := filepath.Join(setting("OUTPUT_FOLDER", "cancel-desk"), job), url.PathEscape(name)+".json"
	if _, err := os.Stat(filepath.Join(folder, file)); err == nil {
		return flush(folder) // A process that was killed may have left the name in memory only.
	}
	value, err := content()
	if err != nil {
		return err
	}
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	draft := filepath.Join(folder, "."+file+"."+url.PathEscape(setting("CONSUMER_ID", "consumer-1")))
	defer os.Remove(draft)
	if err := os.WriteFile(draft, data, 0o644); err != nil {
		return err
	}
	if err := flush(draft); err != nil {
		return err
	}
	// A link fails where the file is there. A rename would replace the file of a faster consumer.
	if err := os.Link(draft, filepath.Join(folder, file)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return flush(folder)
}

// flush makes a file durable, or the names in a folder.
func flush(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return file.Sync()
}
