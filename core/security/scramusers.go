package security

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/moldau-io/moldau/core/security/sasl"
)

// ScramUser is a user with the credential of one SCRAM mechanism.
type ScramUser struct {
	Mechanism  string
	Name       string
	Credential sasl.Credential
}

// ParseScramUsers reads users in the form of kafka-storage's --add-scram, separated by semicolons:
// MECHANISM=[name=N,password=P,iterations=I,salt=BASE64]. Instead of the password there may be saltedpassword=BASE64, which needs salt
// and iterations. The errors hold no passwords.
func ParseScramUsers(s string) ([]ScramUser, error) {
	const key = "scram.bootstrap.credentials"
	var out []ScramUser
	for part := range strings.SplitSeq(s, ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		mech, rest, ok := strings.Cut(part, "=")
		inner, open := strings.CutPrefix(rest, "[")
		inner, closed := strings.CutSuffix(inner, "]")
		if !ok || !open || !closed || mech != sasl.ScramSHA256 && mech != sasl.ScramSHA512 {
			return nil, invalid(key, hidden, "want SCRAM-SHA-256=[name=alice,password=secret] or SCRAM-SHA-512=[...]")
		}
		args := map[string]string{}
		for kv := range strings.SplitSeq(inner, ",") {
			k, v, ok := strings.Cut(strings.TrimSpace(kv), "=")
			if !ok || args[k] != "" {
				return nil, invalid(key, hidden, "want pairs of key=value in brackets")
			}
			switch k {
			case "name", "password", "iterations", "salt", "saltedpassword":
				args[k] = strings.Trim(v, `"`)
			default:
				return nil, invalid(key, hidden, "there is no argument %s", k)
			}
		}
		u, err := scramUser(mech, args)
		if err != nil {
			return nil, invalid(key, hidden, "%s", err)
		}
		out = append(out, u)
	}
	return out, nil
}

func scramUser(mech string, args map[string]string) (ScramUser, error) {
	u := ScramUser{Mechanism: mech, Name: args["name"]}
	iterations := sasl.MinIterations
	if v := args["iterations"]; v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < sasl.MinIterations || n > 16384 {
			return u, fmt.Errorf("the iterations must be a number from %d to 16384", sasl.MinIterations)
		}
		iterations = n
	}
	salt, err := base64.StdEncoding.DecodeString(args["salt"])
	if err != nil {
		return u, fmt.Errorf("the salt is not base64")
	}
	if len(salt) == 0 {
		salt = []byte(rand.Text())
	}
	switch {
	case u.Name == "":
		return u, fmt.Errorf("a user has no name")
	case (args["password"] == "") == (args["saltedpassword"] == ""):
		return u, fmt.Errorf("user %s needs either password or saltedpassword", u.Name)
	case args["saltedpassword"] != "" && (args["salt"] == "" || args["iterations"] == ""):
		return u, fmt.Errorf("user %s: saltedpassword needs salt and iterations", u.Name)
	case args["saltedpassword"] != "":
		salted, err := base64.StdEncoding.DecodeString(args["saltedpassword"])
		if err != nil {
			return u, fmt.Errorf("user %s: saltedpassword is not base64", u.Name)
		}
		u.Credential = sasl.FromSaltedPassword(mech, salted, salt, iterations)
		return u, nil
	}
	u.Credential, err = sasl.NewCredential(mech, args["password"], salt, iterations)
	return u, err
}
