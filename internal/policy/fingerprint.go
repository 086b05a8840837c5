package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// fingerprint stands for a content: the same in every process, on every machine. It is a hash that keeps secrets (the
// tokens of an app are in it), cut to 64 bits.
type fingerprint uint64

func fingerprintOf(content []byte) fingerprint {
	sum := sha256.Sum256(content)
	return fingerprint(binary.BigEndian.Uint64(sum[:]))
}

// transcript is an unambiguous account of a content, made to be fingerprinted. Texts carry their length, so that no two
// contents write the same bytes.
type transcript []byte

func (t *transcript) text(s string) {
	t.number(int64(len(s)))
	*t = append(*t, s...)
}

func (t *transcript) number(n int64) { *t = binary.BigEndian.AppendUint64(*t, uint64(n)) }

func (t *transcript) flag(b bool) {
	if b {
		t.number(1)
		return
	}
	t.number(0)
}

func (t *transcript) time(at time.Time) {
	t.number(at.Unix())
	t.number(int64(at.Nanosecond()))
}

func (t *transcript) object(o Object) {
	t.text(o.Namespace)
	t.text(o.Name)
	t.text(o.UID)
	t.number(o.Generation)
	t.time(o.Created)
}

func (t *transcript) part(f fingerprint) { t.number(int64(f)) }

func (t *transcript) sum() fingerprint { return fingerprintOf(*t) }

// multiset stands for fingerprints of which neither the order nor the history counts: it is the same however they were added
// and taken away.
type multiset struct {
	parts int
	total fingerprint // of all of them, modulo 1<<64
}

func (m *multiset) add(f fingerprint) {
	m.parts++
	m.total += f
}

func (m *multiset) take(f fingerprint) {
	m.parts--
	m.total -= f
}

func (t *transcript) multiset(m multiset) {
	t.number(int64(m.parts))
	t.part(m.total)
}
