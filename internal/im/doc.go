// Package im holds what both directions of the wire protocol of Tencent Cloud Chat share: the types of groups. The
// packages below it are the only places with that vendor's spellings:
//
//   - callback reads what the vendor sends, and writes what it is answered.
//   - imrest calls the REST API that the vendor serves.
//   - emulator replaces the vendor in tests and demos.
//
// "Page N" in comments is the page of the vendor's documentation, https://www.tencentcloud.com/document/product/1047/N.
package im
