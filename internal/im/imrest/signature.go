package imrest

import "time"

// signature is the UserSig that the calls of a client carry.
type signature struct {
	text string
	at   time.Time
}

// sign returns the config and a UserSig made for it, which is renewed after half its life.
func (c *Client) sign() (Config, string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.config.Now()
	// A clock that was set back makes a signature from the future; the vendor might not accept that.
	if age := now.Sub(c.sig.at); c.sig.text == "" || age < 0 || age >= userSigLife/2 {
		text, err := NewUserSig(c.config.SecretKey, c.config.SDKAppID, c.config.AdminAccount, now, userSigLife)
		if err != nil {
			return Config{}, "", err
		}
		c.sig = signature{text: text, at: now}
	}
	return c.config, c.sig.text, nil
}

// forgetSignature makes the next attempt sign afresh.
func (c *Client) forgetSignature() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sig = signature{}
}
