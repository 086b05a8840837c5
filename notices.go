package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/groupgate/groupgate/internal/notices"
)

// noticeOptions are the flags by which people are told that plans await approval.
type noticeOptions struct {
	pageURL string
	webhook notices.WebhookOptions
}

func (o *noticeOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.pageURL, "page-url", "",
		"URL of the page, for links to plans that await approval: https, or http towards loopback; default: no links")
	f.StringVar(&o.webhook.URL, "notice-webhook-url", "",
		"where a signed CloudEvent is sent for each plan that awaits approval: https, or http towards loopback; "+
			"default: nowhere")
	f.StringVar(&o.webhook.SecretFile, "notice-webhook-secret-file", "",
		"file with the secret that signs them, whsec_ and base64; a second line while it is being replaced: mount a "+
			"Secret")
	f.StringVar(&o.webhook.CAFile, "notice-webhook-ca-file", "",
		"file with the CA of the webhook, in PEM; default: the CAs of the system")
}

// options returns the URL of the page and the webhook, or what is wrong with the flags.
func (o *noticeOptions) options() (page string, webhook *notices.Webhook, err error) {
	if o.pageURL != "" {
		if page, err = notices.ParsePageURL(o.pageURL); err != nil {
			return "", nil, fmt.Errorf("--page-url: %w", err)
		}
	}
	webhook, err = notices.NewWebhook(o.webhook, page, time.Now)
	return page, webhook, err
}
