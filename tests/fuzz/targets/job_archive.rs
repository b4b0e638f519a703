//! `JobArchive`: arbitrary bytes as the zip of an artifact and as the body of an upload.
#![no_main]

use pacegate_ingest::ci_job::archive::JobArchive;
use pacegate_fuzz::ships;

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    ships(JobArchive::from_zip(body));
    ships(JobArchive::from_upload(body));
});
