package sasl

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
)

// Credential is what a server keeps of a password: enough to check a proof, not to make one.
type Credential struct {
	Salt, StoredKey, ServerKey []byte
	Iterations                 int
}

// Credentials finds a user's credential; ok is false when there is none.
type Credentials func(user string) (c Credential, ok bool)

// MinIterations is the least number of iterations that Kafka accepts.
const MinIterations = 4096

func hashOf(mechanism string) func() hash.Hash {
	if mechanism == ScramSHA512 {
		return sha512.New
	}
	return sha256.New
}

// NewCredential derives a credential of the mechanism from a password.
func NewCredential(mechanism, password string, salt []byte, iterations int) (Credential, error) {
	h := hashOf(mechanism)
	salted, err := pbkdf2.Key(h, password, salt, iterations, h().Size())
	if err != nil {
		return Credential{}, fmt.Errorf("derive a %s credential: %w", mechanism, err)
	}
	return FromSaltedPassword(mechanism, salted, salt, iterations), nil
}

// FromSaltedPassword derives a credential from a password that was salted and hashed already, as clients send it.
func FromSaltedPassword(mechanism string, salted, salt []byte, iterations int) Credential {
	h := hashOf(mechanism)
	return Credential{
		Salt: salt, Iterations: iterations,
		StoredKey: digest(h, mac(h, salted, []byte("Client Key"))),
		ServerKey: mac(h, salted, []byte("Server Key")),
	}
}

func mac(h func() hash.Hash, key, data []byte) []byte {
	m := hmac.New(h, key)
	m.Write(data)
	return m.Sum(nil)
}

func digest(h func() hash.Hash, data []byte) []byte {
	d := h()
	d.Write(data)
	return d.Sum(nil)
}

// pretence makes credentials for users that do not exist, always the same for a name, so that a client cannot tell. The
// secret lives as long as the process.
var pretence = func() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return b
}()

func pretended(mechanism, user string) Credential {
	h := hashOf(mechanism)
	seed := mac(h, pretence, []byte(mechanism+"\x00"+user))
	return Credential{Salt: seed[:24], StoredKey: mac(h, seed, []byte("stored")), ServerKey: mac(h, seed, []byte("server")), Iterations: MinIterations}
}

// scram is the server's side of one SCRAM exchange.
type scram struct {
	mechanism string
	find      Credentials
	nonce     func() string

	state       int8 // 0 wants the first message, 1 the last, 2 is over
	known       bool
	cred        Credential
	user        string
	firstBare   string
	serverFirst string
	wholeNonce  string
}

// NewScram begins an exchange of SCRAM-SHA-256 or SCRAM-SHA-512.
func NewScram(mechanism string, find Credentials) Exchange {
	return &scram{mechanism: mechanism, find: find, nonce: rand.Text}
}

// Step implements Exchange.
func (s *scram) Step(message []byte) ([]byte, bool, error) {
	state := s.state
	s.state = 2
	switch state {
	case 0:
		answer, err := s.first(string(message))
		if err == nil {
			s.state = 1
		}
		return answer, false, err
	case 1:
		answer, err := s.final(message)
		return answer, err == nil, err
	}
	return nil, false, errors.New("the exchange is over")
}

// Identity implements Exchange.
func (s *scram) Identity() Identity { return Identity{Name: s.user} }

func (s *scram) first(m string) ([]byte, error) {
	if len(m) > 2 && m[0] == 'p' && m[1] == '=' {
		return nil, errors.New("client first message: channel binding is not supported")
	}
	flag, rest, ok := strings.Cut(m, ",")
	authzid, bare, ok2 := strings.Cut(rest, ",")
	if !ok || !ok2 || flag != "n" && flag != "y" {
		return nil, errors.New("client first message: it does not begin with a GS2 header")
	}
	if authzid != "" {
		v, ok := strings.CutPrefix(authzid, "a=")
		if !ok {
			return nil, errors.New("client first message: bad authorization id")
		}
		var err error
		if authzid, err = unescape(v); err != nil {
			return nil, fmt.Errorf("client first message: authorization id: %w", err)
		}
	}
	attrs := strings.Split(bare, ",")
	if strings.HasPrefix(attrs[0], "m=") {
		return nil, errors.New("client first message: mandatory extensions are not supported")
	}
	if len(attrs) < 2 || !strings.HasPrefix(attrs[0], "n=") || !strings.HasPrefix(attrs[1], "r=") {
		return nil, errors.New("client first message: it wants a name and a nonce")
	}
	user, err := unescape(attrs[0][2:])
	if err != nil || user == "" {
		return nil, errors.New("client first message: bad user name")
	}
	nonce := attrs[1][2:]
	if nonce == "" || !printable(nonce) {
		return nil, errors.New("client first message: bad nonce")
	}
	for _, ext := range attrs[2:] {
		if ext == "tokenauth=true" {
			return nil, errors.New("delegation tokens are not supported")
		}
	}
	if s.cred, s.known = s.find(user); !s.known {
		s.cred = pretended(s.mechanism, user)
	}
	if authzid != "" && authzid != user {
		return nil, &Error{"Authentication failed: Client requested an authorization id that is different from username"}
	}
	s.user, s.firstBare, s.wholeNonce = user, bare, nonce+s.nonce()
	s.serverFirst = "r=" + s.wholeNonce + ",s=" + base64.StdEncoding.EncodeToString(s.cred.Salt) + ",i=" + strconv.Itoa(s.cred.Iterations)
	return []byte(s.serverFirst), nil
}

func (s *scram) final(m []byte) ([]byte, error) {
	at := bytes.LastIndex(m, []byte(",p="))
	if at < 0 {
		return nil, errors.New("client final message: there is no proof")
	}
	without := string(m[:at])
	proof, err := base64.StdEncoding.DecodeString(string(m[at+3:]))
	if err != nil {
		return nil, errors.New("client final message: the proof is not base64")
	}
	attrs := strings.Split(without, ",")
	if len(attrs) < 2 || !strings.HasPrefix(attrs[0], "c=") || !strings.HasPrefix(attrs[1], "r=") {
		return nil, errors.New("client final message: it wants channel binding and nonce")
	}
	// librdkafka before 2.7 repeats the client's part of the nonce before the whole. The proof covers it, so that is as
	// safe as the nonce alone, and Kafka accepts it too.
	if !strings.HasSuffix(attrs[1][2:], s.wholeNonce) {
		return nil, errors.New("client final message: it is for another nonce")
	}
	h := hashOf(s.mechanism)
	auth := []byte(s.firstBare + "," + s.serverFirst + "," + without)
	signature := mac(h, s.cred.StoredKey, auth)
	if len(proof) != len(signature) {
		return nil, errors.New("client final message: the proof has the wrong length")
	}
	subtle.XORBytes(proof, proof, signature) // now the client key
	if subtle.ConstantTimeCompare(digest(h, proof), s.cred.StoredKey) != 1 || !s.known {
		return nil, errors.New("invalid client credentials")
	}
	return []byte("v=" + base64.StdEncoding.EncodeToString(mac(h, s.cred.ServerKey, auth))), nil
}

// unescape reads a saslname: =2C is a comma, =3D an equals sign.
func unescape(s string) (string, error) {
	if !strings.Contains(s, "=") {
		return s, nil
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '=' {
			out.WriteByte(s[i])
			continue
		}
		switch {
		case strings.HasPrefix(s[i:], "=2C"):
			out.WriteByte(',')
		case strings.HasPrefix(s[i:], "=3D"):
			out.WriteByte('=')
		default:
			return "", errors.New("bad escape")
		}
		i += 2
	}
	return out.String(), nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e || s[i] == ',' {
			return false
		}
	}
	return true
}
