package mysql

import (
	"fmt"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
)

// decoder appends text in UTF-8 to dst. What cannot be decoded becomes U+FFFD.
type decoder func(dst, text []byte) []byte

// passed tells charsets whose bytes are UTF-8.
func passed(charset string) bool {
	switch charset {
	case "utf8mb4", "utf8mb3", "utf8", "ascii", "binary", "":
		return true
	}
	return false
}

// multiByte are the charsets that a table of 256 characters cannot describe.
var multiByte = map[string]encoding.Encoding{
	"ucs2": unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM), "utf16": unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM),
	"utf16le": unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM), "utf32": utf32.UTF32(utf32.BigEndian, utf32.IgnoreBOM),
	"gbk": simplifiedchinese.GBK, "gb2312": simplifiedchinese.GBK, "gb18030": simplifiedchinese.GB18030, "big5": traditionalchinese.Big5,
	"sjis": japanese.ShiftJIS, "cp932": japanese.ShiftJIS, "ujis": japanese.EUCJP, "eucjpms": japanese.EUCJP, "euckr": korean.EUCKR,
}

func multiByteDecoder(charset string) (decoder, error) {
	e := multiByte[charset]
	if e == nil {
		return nil, fmt.Errorf("character set %s is not supported", charset)
	}
	d := e.NewDecoder()
	return func(dst, text []byte) []byte {
		out, err := d.Bytes(text)
		if err != nil {
			return append(dst, "\uFFFD"...)
		}
		return append(dst, out...)
	}, nil
}

// singleByteDecoder decodes by a table of characters.
func singleByteDecoder(table *[256]rune) decoder {
	return func(dst, text []byte) []byte {
		for _, c := range text {
			if r := table[c]; r < utf8.RuneSelf {
				dst = append(dst, byte(r))
			} else {
				dst = utf8.AppendRune(dst, r)
			}
		}
		return dst
	}
}
