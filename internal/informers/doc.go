// Package informers configures the one cache of the process: which objects it holds, in what form, and how it gets
// them.
//
//   - A transform drops what no reader needs from an object before it is stored, and packs the accounts of lists.
//     Strings that thousands of objects have in common are stored once.
//   - A reconnecting ListerWatcher retries connection errors every second, so that informers are current within seconds
//     of the API server's return.
//   - The REST mapper is static, so that a process can start while the API server is away.
package informers
