//! Compressed answers of both remotes, and the limit of their size.

use keap_intercom_sync::intercom::Found;
use keap_intercom_sync::remote::{Failure, Lane};
use serde_json::json;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{class, header, only_request};
use crate::sim::Compression;

const ALL: [Compression; 3] = [Compression::Gzip, Compression::Deflate, Compression::Brotli];

async fn answering(compression: Compression, body: &[u8]) -> MockServer {
    let server = MockServer::start().await;
    let response = ResponseTemplate::new(200)
        .insert_header("content-encoding", compression.word())
        .set_body_raw(compression.compress(body), "application/json");
    Mock::given(any()).respond_with(response).mount(&server).await;
    server
}

#[tokio::test]
async fn compressed_answers_of_both_remotes_are_read() {
    for compression in ALL {
        let list = json!({ "contacts": [{ "id": "7" }, { "id": 8 }] }).to_string();
        let server = answering(compression, list.as_bytes()).await;
        let page = super::keap::client(&server)
            .page(Lane::Bulk, &super::keap::everything())
            .await
            .unwrap();
        assert_eq!(page.rows.len(), 2, "{compression:?}");
        let request = only_request(&server).await;
        assert!(header(&request, "accept-encoding").contains(compression.word()));

        let contact = json!({ "id": "abc", "role": "user", "external_id": "1042" }).to_string();
        let server = answering(compression, contact.as_bytes()).await;
        let id = keap_intercom_sync::contact::KeapId::new(1042).unwrap();
        let found = super::intercom::client(&server).find_by_external_id(Lane::Bulk, id).await;
        assert!(matches!(found, Ok(Found::Contact(found)) if found.belongs_to(id)));
    }
}

// F40
#[tokio::test]
async fn an_answer_that_is_huge_once_it_is_decompressed_is_not_read_to_its_end() {
    // JSON allows blanks before a value, so only the limit can refuse this list.
    let mut body = vec![b' '; 33 * 1024 * 1024];
    body.extend_from_slice(br#"{"contacts":[]}"#);
    for compression in ALL {
        let server = answering(compression, &body).await;
        let failure = read(&server).await;
        assert_eq!(class(&failure), "again", "{compression:?}: {failure}");
        assert!(failure.to_string().contains("more than 33554432 bytes"), "{failure}");
    }
}

// F21
#[tokio::test]
async fn a_compressed_answer_that_is_cut_or_is_not_compressed_is_a_passing_failure() {
    for compression in ALL {
        let list = json!({ "contacts": [{ "id": "7" }] }).to_string();
        let compressed = compression.compress(list.as_bytes());
        for body in [&compressed[..compressed.len() - 4], list.as_bytes(), b"<html>"] {
            let server = MockServer::start().await;
            let response = ResponseTemplate::new(200)
                .insert_header("content-encoding", compression.word())
                .set_body_raw(body, "application/json");
            Mock::given(any()).respond_with(response).mount(&server).await;
            assert_eq!(class(&read(&server).await), "again", "{compression:?}");
        }
    }
}

async fn read(server: &MockServer) -> Failure {
    let keap = super::keap::patient_client(server);
    keap.page(Lane::Bulk, &super::keap::everything()).await.err().unwrap()
}
