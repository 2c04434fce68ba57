//! Input pictures from https: certificates are checked, and the operator's list opens what it
//! names.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::client::KONTEXT;
use crate::server::{Place, Server};

/// The first steps of a certificate authority, and a certificate for 127.0.0.1 alone.
const CERTIFICATES: &str = "
set -e
new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
openssl req -x509 $new -keyout ca.key -out ca.pem -subj /CN=test -days 2
openssl req -new $new -keyout leaf.key -out leaf.csr -subj /CN=test
printf 'subjectAltName=IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' > extensions
openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out leaf.pem -days 2 \
  -extfile extensions
";

/// A server that sends files over TLS. Dropping it kills it.
struct TlsServer {
    process: Child,
    port: String,
}

impl TlsServer {
    fn start(folder: &Path) -> Self {
        let made = Command::new("sh")
            .args(["-c", CERTIFICATES])
            .current_dir(folder)
            .output()
            .expect("a shell");
        let errors = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{errors}");
        let mut process = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-HTTP"])
            .args(["-cert", "leaf.pem", "-key", "leaf.key"])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        let port = output.lines().find_map(|line| {
            let line = line.expect("a text");
            let port = line.strip_prefix("ACCEPT 127.0.0.1:")?;
            Some(port.trim().to_owned())
        });
        Self {
            process,
            port: port.expect("a port"),
        }
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A whole answer with a picture: the server sends files as they are.
fn write_answer(file: &Path) {
    let mut picture = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(32, 32)
        .write_to(&mut picture, image::ImageFormat::Png)
        .expect("a picture");
    let picture = picture.into_inner();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
        picture.len()
    );
    std::fs::write(file, [head.as_bytes(), &picture].concat()).expect("a file");
}

#[tokio::test]
async fn pictures_come_over_https_from_those_who_can_prove_their_name() {
    let place = Place::with_configuration(
        "allowed_private_targets = [\"127.0.0.1\", \"localhost\"]\n[fetch]\ntotal_seconds = 20",
    );
    write_answer(&place.path().join("a.png"));
    let pictures = TlsServer::start(place.path());
    let inputs = |host: &str| {
        let url = format!("https://{host}:{}/a.png", pictures.port);
        json!({ "prompt": "make it red", "inputImageUrl": url })
    };
    let unreachable = |host: &str| {
        format!(
            "The input image could not be fetched: {host} cannot be reached. Check the address."
        )
    };

    let server = place.serve();
    let client = server.client();
    let reason = client.reason_of_failure(KONTEXT, inputs("127.0.0.1")).await;
    assert_eq!(reason, unreachable("127.0.0.1"), "nobody knows the issuer");
    let keys = server.keys.clone();
    drop(server);

    let mut command = place.serve_command();
    command.env("SSL_CERT_FILE", place.path().join("ca.pem"));
    let mut server = Server::start(command);
    server.keys = keys;
    let client = server.client();
    let token = client.run(KONTEXT, inputs("127.0.0.1")).await;
    client.picture(&client.ended(&token).await).await;
    let reason = client.reason_of_failure(KONTEXT, inputs("localhost")).await;
    assert_eq!(
        reason,
        unreachable("localhost"),
        "not the name of the certificate"
    );
    let reason = client.reason_of_failure(KONTEXT, inputs("127.0.0.2")).await;
    assert!(
        reason.contains("127.0.0.2 is a private address"),
        "{reason}"
    );
}
