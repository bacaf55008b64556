package bot

// Golden lets the tests outside of the package keep golden files too.
var Golden = golden
