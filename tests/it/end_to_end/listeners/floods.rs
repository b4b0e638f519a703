//! Senders that try to exhaust memory or connections: memory stays flat, and others are served
//! meanwhile.

use std::net::UdpSocket;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::encode::otlp;
use super::grpc::{Client, EXPORT, frame};
use super::{DEADLINE, Fixture, REPO, gzip, memory, metric, sent, zstd};
use crate::end_to_end::{Database, on_both};
use crate::pipeline::Run;
use crate::service::Service;
use crate::time::{eventually, now_seconds};
use crate::webhooks::sha;

/// The largest resident memory of the process in KiB: two bodies of the largest size, compressed
/// and inflated, and the process's own memory.
const MAX_MEMORY_KIB: u64 = 400 << 10;

/// Another sender's push succeeds on every tried TCP port.
async fn others_are_served(fixture: &Fixture, service: &Service, name: &str) {
    let run = Run::of_main(&sha(name), now_seconds() - 600);
    fixture.push(service, &run.request()).await;
    let client = Client::connect(&service.port("otlp_grpc")).await;
    let answer = client.send(EXPORT, &fixture.token, &otlp(&run)).await;
    assert_eq!(answer.code, Some(0), "{name}: {answer:?}");
    assert!(memory(service, "VmHWM") < MAX_MEMORY_KIB, "{name}: {} KiB", memory(service, "VmHWM"));
}

on_both!(simultaneous_bombs_leave_memory_flat);
async fn simultaneous_bombs_leave_memory_flat(database: Database) {
    let mut fixture = Fixture::new(database).await;
    fixture.builder = fixture.builder.clone().every_port(REPO);
    let service = fixture.builder.start().await;
    let zeros = vec![0; 512 << 20];
    // They inflate to a thousand times their size and more.
    let bombs = [("gzip", gzip(&zeros)), ("zstd", zstd(&zeros))];
    drop(zeros);
    assert!(bombs.iter().all(|(_, bomb)| bomb.len() < 600 << 10));
    let attacks: Vec<_> = (0..24)
        .map(|number| {
            let (encoding, bomb) = bombs[number % 2].clone();
            let (http, token) = (fixture.client.clone(), fixture.token.clone());
            let (zipkin, grpc) =
                (format!("http://{}/api/v2/spans", service.port("zipkin")), service.port("otlp_grpc"));
            tokio::spawn(async move {
                if number % 3 == 0 {
                    let client = Client::connect(&grpc).await;
                    let answer = client.call(EXPORT, Some(&token), Some(encoding), frame(true, &bomb)).await;
                    answer.expect("an answer").code.expect("a code")
                } else {
                    let request = http.post(zipkin).bearer_auth(token).header("content-encoding", encoding);
                    u32::from(sent(request.body(bomb)).await.status().as_u16())
                }
            })
        })
        .collect();
    others_are_served(&fixture, &service, "among bombs").await;
    for attack in attacks {
        let refused = attack.await.expect("an attack");
        assert!(matches!(refused, 3 | 14 | 413 | 503), "{refused}");
    }
    others_are_served(&fixture, &service, "after bombs").await;
    service.terminate().await;
    fixture.fake.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_and_slow_connections_block_no_others() {
    let mut fixture = Fixture::new(Database::sqlite()).await;
    fixture.builder = fixture.builder.clone().every_port(REPO);
    let service = fixture.builder.start().await;
    allow_many_connections();
    let main = service.url().trim_start_matches("http://").to_owned();
    let grpc = service.port("otlp_grpc");
    let mut held = Vec::new();
    // More connections than a port accepts: silent, in the middle of a header, and in the first
    // line.
    for (number, begun) in
        (0..1_500).zip([&b""[..], b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nX", b"PRI * "].iter().cycle())
    {
        let mut stream =
            TcpStream::connect(if number % 2 == 0 { &main } else { &grpc }).await.expect("a connection");
        // The listener closes old connections to make room, so the write may fail.
        let _cut = stream.write_all(begun).await;
        held.push(stream);
    }
    for _ in 0..800 {
        held.push(TcpStream::connect(&main).await.expect("a connection"));
    }
    others_are_served(&fixture, &service, "among idle ones").await;
    // Endless bodies reserve memory for the received bytes, not for the announced size.
    for _ in 0..100 {
        let mut stream = TcpStream::connect(&main).await.expect("a connection");
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: 60000000\r\n\r\n{{",
            fixture.token
        );
        stream.write_all(head.as_bytes()).await.expect("a head");
        held.push(stream);
    }
    others_are_served(&fixture, &service, "among slow ones").await;
    // An endless header is refused.
    let mut stream = TcpStream::connect(&main).await.expect("a connection");
    let _cut = stream.write_all(format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(1 << 20)).as_bytes()).await;
    others_are_served(&fixture, &service, "after an endless head").await;
    drop(held);
    service.terminate().await;
    fixture.fake.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagram_flood_is_dropped_and_counted() {
    let mut fixture = Fixture::new(Database::sqlite()).await;
    fixture.builder = fixture.builder.clone().every_port(REPO);
    let service = fixture.builder.start().await;
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    for (name, size) in [("jaeger_udp_compact", 60_000), ("jaeger_udp_binary", 100)] {
        let garbage = vec![0xaa; size];
        let address = service.port(name);
        let mut sent = 0;
        let refused = async |outcome: &str| {
            let line = format!("pacegate_refused_requests_total{{kind=\"{name}\",outcome=\"{outcome}\"}}");
            metric(&fixture, &service, &line).await
        };
        for _ in 0..20_000 {
            // The system may have no buffer space left. Then the datagram is lost before it is
            // sent.
            sent += u64::from(socket.send_to(&garbage, &address).is_ok());
        }
        others_are_served(&fixture, &service, name).await;
        eventually("the datagrams to be refused", DEADLINE, || async {
            (refused("malformed").await > 0).then_some(())
        })
        .await;
        assert!(refused("malformed").await + refused("dropped").await <= sent);
    }
    service.terminate().await;
    fixture.fake.finish();
}

/// This process holds the clients' ends.
fn allow_many_connections() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("more files");
}
