package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/groupgate/groupgate/internal/accounts"
)

// fingerprint is a hash of a content: the same in every process, on every machine. It is a cryptographic hash, since an
// app's tokens go into it, cut to 64 bits.
type fingerprint uint64

func fingerprintOf(content []byte) fingerprint {
	sum := sha256.Sum256(content)
	return fingerprint(binary.BigEndian.Uint64(sum[:]))
}

// transcript is an unambiguous encoding of a content, made to be hashed. Texts are preceded by their length, so that no
// two contents have the same bytes.
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

func (t *transcript) hash(f fingerprint) { t.number(int64(f)) }

func (t *transcript) accounts(set accounts.Set) { t.hash(fingerprint(set.Fingerprint())) }

// multiset hashes fingerprints independently of their order.
type multiset struct {
	size int
	sum  fingerprint // of all of them, modulo 1<<64
}

func (m *multiset) add(f fingerprint) {
	m.size++
	m.sum += f
}

func (m *multiset) remove(f fingerprint) {
	m.size--
	m.sum -= f
}

func (t *transcript) multiset(m multiset) {
	t.number(int64(m.size))
	t.hash(m.sum)
}

func (t *transcript) sum() fingerprint { return fingerprintOf(*t) }

func (a *App) fingerprint() fingerprint {
	var t transcript
	t.object(a.Object)
	t.number(int64(a.SDKAppID))
	t.text(a.AdminAccount)
	t.number(int64(a.Authentication))
	tokens := a.usableTokens()
	t.number(int64(len(tokens)))
	for _, token := range tokens {
		t.text(string(token.Name))
		t.text(token.Value.Reveal())
	}
	t.flag(a.RejectUnmatched)
	t.flag(a.PruningSuspended)
	t.flag(a.SecretFound)
	t.flag(a.SecretKeyPresent)
	return t.sum()
}

// governed covers which groups a policy governs, and what is wrong with it.
func (t *transcript) governed(p *parsedPolicy) {
	t.number(int64(len(p.groups)))
	for _, m := range p.groups {
		t.number(int64(m.Kind))
		t.text(m.Value)
	}
	t.number(int64(p.types))
	t.text(p.invalid)
}

func (t *transcript) rejection(r Rejection) {
	t.number(int64(r.Code))
	t.text(r.Message)
}

// rule leaves out Protect, which is written as the selector that it is parsed into, and Reject, which is not part of
// whenFull.
func (t *transcript) rule(r *PruneRule) {
	t.number(int64(r.Mode))
	t.number(int64(r.InactiveFor))
	t.number(int64(r.FreeSeats.Count))
	t.number(int64(r.FreeSeats.Percent))
	t.number(int64(r.MaxRemovals))
	t.number(int64(r.MaxRemovalsPerDay))
	t.number(int64(r.Cooldown))
	t.number(int64(r.RejoinAfter))
	t.flag(r.Silent)
	t.text(r.Reason)
}
