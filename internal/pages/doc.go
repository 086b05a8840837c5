// Package pages reads the project's pages of Markdown as their tests need them: headings with the anchors that GitHub
// gives them, links, fenced blocks, and HTML comments. It knows the subset of Markdown that the pages use.
package pages
