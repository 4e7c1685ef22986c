//! Certificates of the test's own, made by `openssl`: an authority with a server and a client, and a strange authority.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::scratch::Scratch;

/// The files, all PEM; gone with this value.
#[derive(Debug)]
pub struct Certificates {
    scratch: Scratch,
}

impl Certificates {
    /// Makes `ca`, `server` (for `localhost` and 127.0.0.1), `named` (for `redis.test` only), `client`, and `stranger`,
    /// an authority that signed none of them.
    pub fn new() -> Self {
        let made = Self { scratch: Scratch::new("certificates") };
        made.authority("ca");
        made.authority("stranger");
        made.signed("server", "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n");
        made.signed("named", "subjectAltName=DNS:redis.test\nextendedKeyUsage=serverAuth\n");
        made.signed("client", "subjectAltName=DNS:larder.test\nextendedKeyUsage=clientAuth\n");
        made
    }

    /// The certificate of that name.
    pub fn cert(&self, name: &str) -> String {
        self.file(name, "crt").display().to_string()
    }

    /// The private key of that name.
    pub fn key(&self, name: &str) -> String {
        self.file(name, "key").display().to_string()
    }

    fn file(&self, name: &str, kind: &str) -> PathBuf {
        self.scratch.file(&format!("{name}.{kind}"))
    }

    fn authority(&self, name: &str) {
        let (cert, key, subject) = (self.cert(name), self.key(name), format!("/CN={name}"));
        self.openssl(&["req", "-x509", "-days", "2", "-nodes", "-subj", &subject, "-keyout", &key, "-out", &cert]);
    }

    fn signed(&self, name: &str, extensions: &str) {
        let (cert, key, subject) = (self.cert(name), self.key(name), format!("/CN={name}"));
        let (request, wanted) = (self.file(name, "csr").display().to_string(), self.file(name, "ext"));
        fs::write(&wanted, extensions).expect("the scratch directory is writable");
        self.openssl(&["req", "-new", "-nodes", "-subj", &subject, "-keyout", &key, "-out", &request]);
        let (ca, ca_key, wanted) = (self.cert("ca"), self.key("ca"), wanted.display().to_string());
        let sign = ["x509", "-req", "-days", "2", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial"];
        self.openssl(&[&sign[..], &["-extfile", &wanted, "-out", &cert]].concat());
    }

    fn openssl(&self, args: &[&str]) {
        let mut command = Command::new("openssl");
        command.args(args).current_dir(self.scratch.path());
        if args[0] == "req" {
            // Made in milliseconds, where RSA takes up to seconds.
            command.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        }
        let output = command.output().unwrap_or_else(|error| panic!("openssl: {error}; run integration-tests/run"));
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}
