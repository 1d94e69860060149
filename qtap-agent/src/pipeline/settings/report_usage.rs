//! Settings of `report_usage`: which credentials are looked for, and what of them is told. Checked values only.

/// Whose SHA-256 is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UsageDigest {
    /// That of tokens, which nobody can guess; not that of a name with its password.
    Tokens,
    /// That of every credential.
    All,
    /// None.
    None,
}

/// `report_usage`.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportUsage {
    /// Names of header fields that hold an API key, lower case.
    pub headers: Vec<String>,
    /// Names of cookies that hold a session, lower case.
    pub cookies: Vec<String>,
    /// Names of query parameters that hold an API key, lower case.
    pub query_keys: Vec<String>,
    /// Whose SHA-256 is told.
    pub digest: UsageDigest,
    /// Claims of a JWT that are told.
    pub claims: Vec<String>,
}

impl Default for ReportUsage {
    fn default() -> Self {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
        ReportUsage {
            headers: words(&[
                "x-api-key",
                "api-key",
                "apikey",
                "x-auth-token",
                "x-access-token",
                "x-goog-api-key",
                "private-token",
                "x-vault-token",
                "dd-api-key",
                "x-honeycomb-team",
            ]),
            cookies: words(&[
                "session",
                "sessionid",
                "session_id",
                "sid",
                "connect.sid",
                "jsessionid",
                "phpsessid",
                "asp.net_sessionid",
                "auth_token",
                "access_token",
                "token",
                "jwt",
            ]),
            query_keys: words(&["api_key", "apikey", "api-key", "key", "access_token", "token"]),
            digest: UsageDigest::Tokens,
            claims: Vec::new(),
        }
    }
}
