//! The host's codes are those of the inference crate, with the same statuses.

use twinfer::ErrorCode;
use twinfer_host::ReplyCode;

#[test]
fn every_code_is_one_of_the_crates() {
    for code in ReplyCode::ALL {
        let same = ErrorCode::ALL.iter().find(|c| c.as_str() == code.as_str());
        let same = same.unwrap_or_else(|| panic!("{} is unknown to twinfer", code.as_str()));
        assert_eq!(same.http_status(), code.http_status(), "{}", code.as_str());
    }
}
