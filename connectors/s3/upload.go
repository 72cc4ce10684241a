package s3

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/moldau-io/moldau/plugins/configdef"
)

// endKey is the object metadata that holds the offset after the last record of the object's closing.
const endKey = "moldau-end-offset"

// topicKey is the object metadata that holds the topic that the records lie in, which a transform may have renamed in the object's name.
const topicKey = "moldau-source-topic"

// idKey is the object metadata that holds that topic's id, as Kafka prints ids: a topic that is deleted and made anew has another, and
// its offsets begin again.
const idKey = "moldau-topic-id"

// topicID is a topic's id; the zero one is not known.
type topicID [16]byte

func (id topicID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// errConflict says that another run completed an object of this name with another end.
type errConflict struct{ end int64 }

func (e *errConflict) Error() string { return fmt.Sprintf("the object is there and ends at %d", e.end) }

// uploader completes objects in a bucket. It is safe for concurrent use.
type uploader struct {
	cl     *s3.Client
	bucket string
	s      settings
	log    *slog.Logger
	acl    types.ObjectCannedACL
	sse    types.ServerSideEncryption
	kms    *string
}

func newClient(ctx context.Context, v configdef.Values) (*s3.Client, error) {
	var opts []func(*awsconfig.LoadOptions) error
	opts = append(opts, awsconfig.WithRegion(v.Str("s3.region")))
	if id := v.Str("aws.access.key.id"); id != "" {
		opts = append(opts, awsconfig.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(id, v.Str("aws.secret.access.key"), "")))
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("aws configuration: %w", err)
	}
	return s3.NewFromConfig(cfg, func(o *s3.Options) {
		if u := v.Str("store.url"); u != "" {
			o.BaseEndpoint = aws.String(u)
		}
		o.UsePathStyle = v.Bool("s3.path.style.access.enabled")
		// Checksums that the SDK adds by itself are refused by older stores; ours are Content-MD5-free plain requests.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		if !v.Bool("s3.http.send.expect.continue") {
			o.ContinueHeaderThresholdBytes = -1
		}
		o.RetryMaxAttempts = int(v.Int("s3.part.retries")) + 1
	}), nil
}

func newUploader(cl *s3.Client, s settings, log *slog.Logger) *uploader {
	v := s.values
	u := &uploader{cl: cl, bucket: v.Str("s3.bucket.name"), s: s, log: log, acl: types.ObjectCannedACL(v.Str("s3.acl.canned")), sse: types.ServerSideEncryption(v.Str("s3.ssea.name"))}
	if k := v.Str("s3.sse.kms.key.id"); k != "" {
		u.kms = aws.String(k)
	}
	return u
}

// upload completes an object, trying until it succeeds, ctx ends, or the store says something that trying again cannot change. The
// object's buffer stays the caller's.
func (u *uploader) upload(ctx context.Context, o *object) error {
	conditional := u.s.conditional
	for try := 0; ; try++ {
		err := u.once(ctx, o, conditional)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if isConflict(err) {
			there, herr := u.marksOf(ctx, o.key)
			switch {
			case herr != nil:
				err = herr
			case there == nil:
				// Of another program, which is the Confluent sink when it was taken over: it completed objects whose offsets it did not
				// live to commit. Those records come again, now to us, and go where they went.
				u.log.Warn("an object of this name was written by another program and is replaced", "key", o.key)
				conditional = false
				continue
			case there.topic != "" && there.topic != o.source:
				return fmt.Errorf("object %s holds records of topic %q: topics %q and %q are written under one name; give them names of their own with a RegexRouter transform, or topics.dir", o.key, there.topic, there.topic, o.source)
			case there.id != "" && o.id != topicID{} && there.id != o.id.String():
				return fmt.Errorf("object %s holds records of an earlier topic %q (id %s, now %s): the topic was deleted and made anew, and its offsets began again. Move the old objects away, or give the new topic a place of its own with topics.dir or a RegexRouter transform", o.key, o.source, there.id, o.id)
			case there.end == o.end:
				return nil // an earlier run completed it and did not live to say so
			default:
				return &errConflict{there.end}
			}
		}
		if fatal := explain(err, u.bucket); fatal != nil {
			return fatal
		}
		pause := min(u.s.uploadBackoff, u.s.retryBackoff<<min(try, 16))
		if u.s.retryBackoff > 0 && pause <= 0 {
			pause = u.s.uploadBackoff
		}
		u.log.Warn("upload failed, trying again", "key", o.key, "attempt", try+1, "pause", pause, "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause/2 + rand.N(pause/2+1)):
		}
	}
}

func (u *uploader) metadata(o *object) map[string]string {
	m := map[string]string{endKey: strconv.FormatInt(o.end, 10), topicKey: url.QueryEscape(o.source)}
	if o.id != (topicID{}) {
		m[idKey] = o.id.String()
	}
	return m
}

func (u *uploader) once(ctx context.Context, o *object, conditional bool) error {
	var none *string
	if conditional {
		none = aws.String("*")
	}
	size := o.buf.size()
	if size <= u.s.partSize {
		_, err := u.cl.PutObject(ctx, &s3.PutObjectInput{Bucket: &u.bucket, Key: &o.key, Body: io.NewSectionReader(o.buf, 0, size), ContentLength: &size,
			IfNoneMatch: none, Metadata: u.metadata(o), ACL: u.acl, ServerSideEncryption: u.sse, SSEKMSKeyId: u.kms})
		return err
	}
	up, err := u.cl.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &u.bucket, Key: &o.key, Metadata: u.metadata(o), ACL: u.acl, ServerSideEncryption: u.sse, SSEKMSKeyId: u.kms})
	if err != nil {
		return err
	}
	var parts []types.CompletedPart
	for off, n := int64(0), int32(1); off < size; off, n = off+u.s.partSize, n+1 {
		length := min(u.s.partSize, size-off)
		part, err := u.cl.UploadPart(ctx, &s3.UploadPartInput{Bucket: &u.bucket, Key: &o.key, UploadId: up.UploadId, PartNumber: aws.Int32(n),
			Body: io.NewSectionReader(o.buf, off, length), ContentLength: &length})
		if err != nil {
			return errors.Join(err, u.abort(o.key, up.UploadId))
		}
		parts = append(parts, types.CompletedPart{ETag: part.ETag, PartNumber: aws.Int32(n)})
	}
	_, err = u.cl.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: &u.bucket, Key: &o.key, UploadId: up.UploadId, IfNoneMatch: none,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
	if err != nil {
		return errors.Join(err, u.abort(o.key, up.UploadId))
	}
	return nil
}

// abort drops a multipart upload that was not completed, also when the task is being stopped.
func (u *uploader) abort(key string, id *string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := u.cl.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &u.bucket, Key: &key, UploadId: id}); err != nil {
		u.log.Warn("an unfinished multipart upload stays behind", "key", key, "upload", aws.ToString(id), "error", err)
	}
	return nil
}

// marks are what an object of this sink tells about itself.
type marks struct {
	end       int64
	topic, id string // "" when it was written by a version that did not note them
}

// marksOf reads an object's marks; nil when it has none.
func (u *uploader) marksOf(ctx context.Context, key string) (*marks, error) {
	h, err := u.cl.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &u.bucket, Key: &key})
	if err != nil {
		return nil, err
	}
	text, ok := h.Metadata[endKey]
	if !ok {
		return nil, nil
	}
	m := &marks{id: h.Metadata[idKey]}
	if m.end, err = strconv.ParseInt(text, 10, 64); err != nil {
		return nil, fmt.Errorf("object %s: metadata %s: %w", key, endKey, err)
	}
	if m.topic, err = url.QueryUnescape(h.Metadata[topicKey]); err != nil {
		return nil, fmt.Errorf("object %s: metadata %s: %w", key, topicKey, err)
	}
	return m, nil
}

func status(err error) int {
	var re *smithyhttp.ResponseError
	if errors.As(err, &re) {
		return re.HTTPStatusCode()
	}
	return 0
}

// isConflict reports a conditional write that found its object there (412), or another writer under way (409).
func isConflict(err error) bool {
	c := status(err)
	return c == http.StatusPreconditionFailed || c == http.StatusConflict
}

// explain turns answers that trying again cannot change into errors for people; nil for all others.
func explain(err error, bucket string) error {
	var code interface{ ErrorCode() string }
	if !errors.As(err, &code) {
		return nil
	}
	switch code.ErrorCode() {
	case "NoSuchBucket":
		return fmt.Errorf("s3.bucket.name: the bucket %q does not exist: %w", bucket, err)
	case "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken":
		return fmt.Errorf("the store refuses the credentials for bucket %q (%s): check aws.access.key.id, aws.secret.access.key and the bucket's policy: %w", bucket, code.ErrorCode(), err)
	case "EntityTooLarge", "InvalidBucketName", "AuthorizationHeaderMalformed", "PermanentRedirect", "MethodNotAllowed":
		return fmt.Errorf("the store refuses the request for good (%s): check s3.bucket.name, s3.region and store.url: %w", code.ErrorCode(), err)
	}
	return nil
}
