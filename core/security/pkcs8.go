package security

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // keys that openssl wrote before 1.1 are encrypted with it
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // PBKDF2's default in PKCS#5
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
)

// The structures of an encrypted private key: PKCS#8 with PBES2 of PKCS#5 (RFC 8018).
type (
	encryptedKey struct {
		Algorithm algorithmID
		Data      []byte
	}
	algorithmID struct {
		ID     asn1.ObjectIdentifier
		Params asn1.RawValue `asn1:"optional"`
	}
	pbes2Params struct {
		KDF    algorithmID
		Cipher algorithmID
	}
	pbkdf2Params struct {
		Salt       []byte
		Iterations int
		KeyLength  int         `asn1:"optional"`
		PRF        algorithmID `asn1:"optional"`
	}
)

// maxKeyIterations bounds the work that an encrypted key may ask for.
const maxKeyIterations = 10_000_000

var (
	oidPBES2  = "1.2.840.113549.1.5.13"
	oidPBKDF2 = "1.2.840.113549.1.5.12"
	prfs      = map[string]func() hash.Hash{
		"1.2.840.113549.2.7": sha1.New, "1.2.840.113549.2.9": sha256.New, "1.2.840.113549.2.10": sha512.New384, "1.2.840.113549.2.11": sha512.New,
	}
	ciphers = map[string]struct {
		key int
		new func([]byte) (cipher.Block, error)
	}{
		"2.16.840.1.101.3.4.1.2": {16, aes.NewCipher}, "2.16.840.1.101.3.4.1.22": {24, aes.NewCipher}, "2.16.840.1.101.3.4.1.42": {32, aes.NewCipher},
		"1.2.840.113549.3.7": {24, des.NewTripleDESCipher},
	}
)

// decryptPKCS8 decrypts a private key that PBES2 encrypted, and returns its PKCS#8 form.
func decryptPKCS8(der []byte, password string) ([]byte, error) {
	var k encryptedKey
	var p pbes2Params
	var kdf pbkdf2Params
	var iv []byte
	if _, err := asn1.Unmarshal(der, &k); err != nil {
		return nil, fmt.Errorf("encrypted private key: %w", err)
	}
	if k.Algorithm.ID.String() != oidPBES2 {
		return nil, fmt.Errorf("encrypted private key: the scheme %s is not supported, only PBES2 is (openssl pkcs8 -topk8 -v2 aes-256-cbc)", k.Algorithm.ID)
	}
	if _, err := asn1.Unmarshal(k.Algorithm.Params.FullBytes, &p); err != nil {
		return nil, fmt.Errorf("encrypted private key: %w", err)
	}
	if p.KDF.ID.String() != oidPBKDF2 {
		return nil, fmt.Errorf("encrypted private key: the key derivation %s is not supported, only PBKDF2 is", p.KDF.ID)
	}
	if _, err := asn1.Unmarshal(p.KDF.Params.FullBytes, &kdf); err != nil {
		return nil, fmt.Errorf("encrypted private key: %w", err)
	}
	prf, ok := sha1.New, true
	if len(kdf.PRF.ID) > 0 {
		prf, ok = prfs[kdf.PRF.ID.String()]
	}
	c, ok2 := ciphers[p.Cipher.ID.String()]
	if !ok || !ok2 || kdf.Iterations <= 0 || kdf.Iterations > maxKeyIterations {
		return nil, errors.New("encrypted private key: its cipher, hash or number of iterations is not supported")
	}
	if _, err := asn1.Unmarshal(p.Cipher.Params.FullBytes, &iv); err != nil {
		return nil, fmt.Errorf("encrypted private key: %w", err)
	}
	key, err := pbkdf2.Key(prf, password, kdf.Salt, kdf.Iterations, c.key)
	if err != nil {
		return nil, fmt.Errorf("encrypted private key: %w", err)
	}
	block, err := c.new(key)
	if err != nil {
		return nil, fmt.Errorf("encrypted private key: %w", err)
	}
	n := block.BlockSize()
	if len(iv) != n || len(k.Data) == 0 || len(k.Data)%n != 0 {
		return nil, errors.New("encrypted private key: it is cut short")
	}
	out := make([]byte, len(k.Data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(out, k.Data)
	pad := int(out[len(out)-1])
	if pad == 0 || pad > n {
		return nil, errors.New("encrypted private key: ssl.key.password is wrong")
	}
	for _, b := range out[len(out)-pad:] {
		if int(b) != pad {
			return nil, errors.New("encrypted private key: ssl.key.password is wrong")
		}
	}
	return out[:len(out)-pad], nil
}
