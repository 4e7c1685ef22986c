use proptest::prelude::*;

use super::*;
use crate::resp::scan::Scanner;

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn both_versions_get_the_form_that_redis_gives_them() {
    use Proto::{Resp2, Resp3};
    let cases = [
        (written(|out| bulk(out, b"a\r\nb")), "$4\r\na\r\nb\r\n"),
        (written(|out| integer(out, i64::MIN)), ":-9223372036854775808\r\n"),
        (written(|out| simple(out, "PONG")), "+PONG\r\n"),
        (written(ok), "+OK\r\n"),
        (written(|out| null(out, Resp2)), "$-1\r\n"),
        (written(|out| null(out, Resp3)), "_\r\n"),
        (written(|out| null_array(out, Resp2)), "*-1\r\n"),
        (written(|out| null_array(out, Resp3)), "_\r\n"),
        (written(|out| array(out, 12)), "*12\r\n"),
        (written(|out| map(out, Resp2, 3)), "*6\r\n"),
        (written(|out| map(out, Resp3, 3)), "%3\r\n"),
        (written(|out| set(out, Resp2, 3)), "*3\r\n"),
        (written(|out| set(out, Resp3, 3)), "~3\r\n"),
        (written(|out| push(out, 2)), ">2\r\n"),
        (written(|out| double(out, Resp2, 1.5)), "$3\r\n1.5\r\n"),
        (written(|out| double(out, Resp3, 1.5)), ",1.5\r\n"),
        (written(|out| boolean(out, Resp2, true)), ":1\r\n"),
        (written(|out| boolean(out, Resp2, false)), ":0\r\n"),
        (written(|out| boolean(out, Resp3, true)), "#t\r\n"),
        (written(|out| boolean(out, Resp3, false)), "#f\r\n"),
        (written(|out| verbatim(out, Resp2, "txt", b"hi")), "$2\r\nhi\r\n"),
        (written(|out| verbatim(out, Resp3, "txt", b"hi")), "=6\r\ntxt:hi\r\n"),
        (written(|out| command(out, &[b"GET", b""])), "*2\r\n$3\r\nGET\r\n$0\r\n\r\n"),
    ];
    for (text, expected) in cases {
        assert_eq!(text, expected);
    }
}

#[test]
fn an_error_is_one_line_whatever_it_quotes() {
    let text = "ERR unknown command 'a\r\n+OK\r\n'";
    assert_eq!(written(|out| error(out, text)), "-ERR unknown command 'a  +OK  '\r\n");
    assert_eq!(written(|out| simple(out, "a\nb")), "+a b\r\n");
}

// The texts are those of C's printf("%.17g"), on x86-64 with glibc 2.36.
#[test]
fn doubles_have_the_digits_of_printf() {
    let cases = [
        (0.0, "0"),
        (-0.0, "-0"),
        (3.0, "3"),
        (-1.5, "-1.5"),
        (0.1, "0.10000000000000001"),
        (1.0 / 3.0, "0.33333333333333331"),
        (100.0, "100"),
        (1e16, "10000000000000000"),
        (99_999_999_999_999_999.0, "1e+17"),
        (1e17, "1e+17"),
        (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
        (1e300, "1.0000000000000001e+300"),
        (1e-4, "0.0001"),
        (0.000_099_999, "9.9999000000000003e-05"),
        (1e-5, "1.0000000000000001e-05"),
        (5e-324, "4.9406564584124654e-324"),
        (f64::MAX, "1.7976931348623157e+308"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (f64::NAN, "nan"),
    ];
    for (value, expected) in cases {
        assert_eq!(seventeen_digits(value), expected);
    }
}

proptest! {
    #[test]
    fn a_double_reads_back_as_itself(value: f64) {
        let text = seventeen_digits(value);
        let read: f64 = text.parse().unwrap();
        prop_assert!(read.to_bits() == value.to_bits() || (read.is_nan() && value.is_nan()), "{}", text);
    }

    #[test]
    fn what_is_written_scans_as_one_reply(body: Vec<u8>, text: String, value: f64) {
        for proto in [Proto::Resp2, Proto::Resp3] {
            let replies = [
                written(|out| bulk(out, text.as_bytes())),
                written(|out| error(out, &text)),
                written(|out| double(out, proto, value)),
                written(|out| verbatim(out, proto, "txt", text.as_bytes())),
            ];
            for reply in replies {
                prop_assert_eq!(Scanner::default().scan(reply.as_bytes()), Ok(Some(reply.len())));
            }
        }
        let mut request = Vec::new();
        command(&mut request, &[&body, text.as_bytes()]);
        prop_assert_eq!(Scanner::default().scan(&request), Ok(Some(request.len())));
    }
}
