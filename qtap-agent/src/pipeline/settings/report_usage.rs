//! Settings of `report_usage`: which credentials are searched for, and what is reported of them. Checked values only.

/// Credentials whose SHA-256 is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UsageDigest {
    /// Tokens, which can't be guessed; not a user name with its password.
    Tokens,
    /// Every credential.
    All,
    /// None.
    None,
}

/// `report_usage`.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportUsage {
    /// Names of header fields that contain an API key, lower case.
    pub headers: Vec<String>,
    /// Names of cookies that contain a session, lower case.
    pub cookies: Vec<String>,
    /// Names of query parameters that contain an API key, lower case.
    pub query_keys: Vec<String>,
    /// Credentials whose SHA-256 is reported.
    pub digest: UsageDigest,
    /// Claims of a JWT to report.
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
