package metadata

import "github.com/twmb/franz-go/pkg/kerr"

// The bounds on iterations of SCRAM credentials, Kafka's.
const (
	minScramIterations = 4096
	maxScramIterations = 16384
)

// AlterScram asks to set or to remove one credential. The keys were derived from the salted password by the caller.
type AlterScram struct {
	Key    ScramKey
	Delete bool
	// NoPassword says that the credential is of an empty salted password, which nobody may have.
	NoPassword bool
	Credential ScramCredential
}

// AlterScramResult is the answer for one user.
type AlterScramResult struct {
	User string
	Err  *Error
}

// AlterScramCredentials decides on an AlterUserScramCredentials request. The deletions must come first. There is one result for each user.
func AlterScramCredentials(im *Image, alter []AlterScram) ([]Record, []AlterScramResult) {
	errs := map[string]*Error{}
	last := map[string]int{} // user -> the alteration that holds
	var users []string
	for i, a := range alter {
		user := a.Key.User
		if _, seen := last[user]; !seen && errs[user] == nil {
			users = append(users, user)
		}
		switch _, twice := last[user]; {
		case errs[user] != nil:
		case twice:
			delete(last, user)
			errs[user] = refuse(kerr.DuplicateResource, "A user credential cannot be altered twice in the same request")
		default:
			if err := validateScram(im, a); err != nil {
				errs[user] = err
			} else {
				last[user] = i
			}
		}
	}
	var records []Record
	results := make([]AlterScramResult, 0, len(users))
	for _, user := range users {
		results = append(results, AlterScramResult{User: user, Err: errs[user]})
		i, ok := last[user]
		if !ok {
			continue
		}
		if a := alter[i]; a.Delete {
			records = append(records, &RemoveScramRecord{Key: a.Key})
		} else {
			records = append(records, &ScramCredentialRecord{Key: a.Key, Credential: a.Credential})
		}
	}
	return records, results
}

func validateScram(im *Image, a AlterScram) *Error {
	switch {
	case a.Key.User == "":
		return refuse(kerr.UnacceptableCredential, "Username must not be empty")
	case a.Key.Mechanism != ScramSHA256 && a.Key.Mechanism != ScramSHA512:
		return refuse(kerr.UnsupportedSaslMechanism, "Unknown SCRAM mechanism")
	case a.Delete:
		if _, ok := im.security.scram[a.Key]; !ok {
			return refuse(kerr.ResourceNotFound, "Attempt to delete a user credential that does not exist")
		}
		return nil
	case a.Credential.Iterations < minScramIterations:
		return refuse(kerr.UnacceptableCredential, "Too few iterations")
	case a.Credential.Iterations > maxScramIterations:
		return refuse(kerr.UnacceptableCredential, "Too many iterations")
	case a.NoPassword:
		return refuse(kerr.UnacceptableCredential, "The salted password must not be empty")
	case len(a.Credential.Salt) > maxCredentialBytes:
		return refuse(kerr.UnacceptableCredential, "The salt is longer than %d bytes", maxCredentialBytes)
	}
	return nil
}
