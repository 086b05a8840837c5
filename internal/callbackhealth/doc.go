// Package callbackhealth remembers, for each app, when its callbacks last carried a right Sign, a wrong one, none, or
// one of another minute. The callback server writes; conditions of IMApps are made of what it wrote.
//
// Only apps that hold their SDKAppID have a record, so that strangers cannot add any. Writing takes no lock and
// allocates nothing.
package callbackhealth
