//! `JobArchive`: arbitrary bytes as the zip of an artifact and as the body of an upload.
#![no_main]

use pacegate_ingest::ci_job::archive::JobArchive;
use pacegate_fuzz::belongs_to_job;

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    belongs_to_job(JobArchive::from_zip(body));
    belongs_to_job(JobArchive::from_upload(body));
});
