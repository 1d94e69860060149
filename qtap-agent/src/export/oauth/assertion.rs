//! The assertion of the JWT bearer grant (RFC 7523 §3): claims signed with the configured key (RFC 7515, 7518 §3). In: settings and the time. Out:
//! a compact JWT. `ring` signs, because TLS already depends on it. Errors never contain key material.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use ring::{hmac, rand};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;

use crate::export::settings::{Algorithm, JwtSettings};

/// Validity of an assertion: servers want it short, and clocks differ by less.
const LIFETIME: Duration = Duration::from_secs(300);

/// A key that can't sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not PEM.
    #[error("auth.signing_key holds no private key in PEM form")]
    Pem,
    /// Not RSA, or of a size that is not supported.
    #[error("auth.signing_key is no RSA key of 2048 to 8192 bits, which RS256 needs")]
    Rsa,
    /// Not P-256, or not in PKCS #8.
    #[error(
        "auth.signing_key is no P-256 key in PKCS #8 (BEGIN PRIVATE KEY; openssl pkcs8 -topk8 makes it), which ES256 needs"
    )]
    Ec,
    /// The key is empty.
    #[error("auth.signing_key is empty")]
    Empty,
    /// Signing failed, or the system has no randomness.
    #[error("the assertion could not be signed")]
    Sign,
}

/// Builds and signs an assertion.
///
/// # Errors
/// When the key does not fit the algorithm.
pub(super) fn assertion(settings: &JwtSettings, now: SystemTime) -> Result<String, KeyError> {
    let mut head = json!({"alg": settings.algorithm.name(), "typ": "JWT"});
    if let (Some(id), Some(head)) = (&settings.key_id, head.as_object_mut()) {
        head.insert("kid".to_owned(), json!(id));
    }
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let random: [u8; 16] = rand::generate(&SystemRandom::new()).map_err(|_| KeyError::Sign)?.expose();
    let claims = json!({
        "iss": settings.issuer,
        "sub": settings.subject,
        "aud": settings.audience,
        "iat": seconds,
        "exp": seconds + LIFETIME.as_secs(),
        "jti": URL_SAFE_NO_PAD.encode(random),
    });
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(head.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = sign(settings, input.as_bytes())?;
    Ok(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// RFC 7518 §3.2 to §3.4.
fn sign(settings: &JwtSettings, input: &[u8]) -> Result<Vec<u8>, KeyError> {
    let key = settings.signing_key.reveal();
    let random = SystemRandom::new();
    match settings.algorithm {
        Algorithm::Hs256 if key.is_empty() => Err(KeyError::Empty),
        Algorithm::Hs256 => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
            Ok(hmac::sign(&key, input).as_ref().to_vec())
        }
        Algorithm::Rs256 => {
            let pair = match PrivateKeyDer::from_pem_slice(key.as_bytes()) {
                Ok(PrivateKeyDer::Pkcs8(der)) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
                Ok(PrivateKeyDer::Pkcs1(der)) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
                Ok(_) => return Err(KeyError::Rsa),
                Err(_) => return Err(KeyError::Pem),
            };
            let pair = pair.map_err(|_| KeyError::Rsa)?;
            let mut signature = vec![0; pair.public().modulus_len()];
            pair.sign(&RSA_PKCS1_SHA256, &random, input, &mut signature).map_err(|_| KeyError::Sign)?;
            Ok(signature)
        }
        Algorithm::Es256 => {
            let der = match PrivateKeyDer::from_pem_slice(key.as_bytes()) {
                Ok(PrivateKeyDer::Pkcs8(der)) => der,
                Ok(_) => return Err(KeyError::Ec),
                Err(_) => return Err(KeyError::Pem),
            };
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der(), &random);
            let signature = pair.map_err(|_| KeyError::Ec)?.sign(&random, input).map_err(|_| KeyError::Sign)?;
            Ok(signature.as_ref().to_vec())
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use crate::export::settings::Secret;

    fn settings(algorithm: Algorithm, key: &str) -> JwtSettings {
        JwtSettings {
            signing_key: Secret::text(key),
            algorithm,
            key_id: Some("k1".into()),
            issuer: "me".into(),
            subject: "you".into(),
            audience: "https://token".into(),
        }
    }

    /// RFC 7515 appendix A.1: the key, the signing input and the expected signature of its example.
    #[test]
    fn hs256_signs_as_the_rfc_does() {
        let key = URL_SAFE_NO_PAD
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let input = concat!(
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.",
            "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        );
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), input.as_bytes());
        assert_eq!(URL_SAFE_NO_PAD.encode(signature), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }

    #[test]
    fn claims_are_those_of_rfc_7523() {
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let text = assertion(&settings(Algorithm::Hs256, "a key"), now).unwrap();
        let part = |n: usize| -> serde_json::Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text.split('.').nth(n).unwrap()).unwrap()).unwrap()
        };
        assert_eq!(part(0), json!({"alg": "HS256", "typ": "JWT", "kid": "k1"}));
        let claims = part(1);
        assert_eq!(
            (&claims["iss"], &claims["sub"], &claims["aud"]),
            (&json!("me"), &json!("you"), &json!("https://token"))
        );
        assert_eq!((&claims["iat"], &claims["exp"]), (&json!(1_700_000_000), &json!(1_700_000_300)));
        let again = assertion(&settings(Algorithm::Hs256, "a key"), now).unwrap();
        assert_ne!(text, again, "each has an id of its own");
    }

    #[test]
    fn keys_that_do_not_fit_are_named_and_not_shown() {
        let now = SystemTime::now();
        let pem = "-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----\n";
        for (algorithm, key, error) in [
            (Algorithm::Rs256, "hunter2", KeyError::Pem),
            (Algorithm::Es256, "hunter2", KeyError::Pem),
            (Algorithm::Rs256, pem, KeyError::Rsa),
            (Algorithm::Es256, pem, KeyError::Ec),
            (Algorithm::Hs256, "", KeyError::Empty),
        ] {
            assert_eq!(assertion(&settings(algorithm, key), now), Err(error));
        }
    }
}
