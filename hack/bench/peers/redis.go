package peers

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// FromRedis decides with SISMEMBER on the Redis server at address, which it fills first.
func FromRedis(ctx context.Context, data *Data, address string) (Decider, error) {
	client := redis.NewClient(&redis.Options{Addr: address, PoolSize: 64})
	for group, members := range data.Members {
		accounts := make([]any, 0, len(members))
		for account := range members {
			accounts = append(accounts, account)
		}
		if err := client.SAdd(ctx, group, accounts...).Err(); err != nil {
			return nil, fmt.Errorf("fill Redis at %s: %w", address, err)
		}
	}
	return func(ctx context.Context, group, account string) (bool, error) {
		return client.SIsMember(ctx, group, account).Result()
	}, nil
}
