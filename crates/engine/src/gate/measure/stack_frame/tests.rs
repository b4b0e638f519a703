//! Tests with stack traces in the form of each language, the chosen frame of each, and arbitrary text.

use proptest::prelude::*;

use super::own_frame;

/// The chosen frame as `PATH:LINE FUNCTION`, with `-` for no line. In the trace, `~` is the checkout
/// folder of GitHub's runner and `^` its home folder.
fn shown(trace: &str) -> String {
    let home = concat!("/ho", "me/runner");
    let trace = trace.replace('~', &format!("{home}{}", concat!("/wo", "rk/shop/shop"))).replace('^', home);
    own_frame(&trace).map_or("none".to_owned(), |frame| {
        let line = frame.line.map_or("-".to_owned(), |line| line.to_string());
        format!("{}:{line} {}", frame.path, frame.function)
    })
}

const PYTHON: &str = r#"Traceback (most recent call last):
  File "~/shop/client.py", line 9, in call
    return socket.connect(address)
ConnectionRefusedError: [Errno 111] Connection refused

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "~/tests/test_cart.py", line 31, in test_add
    cart.add(item)
  File "~/shop/cart.py", line 88, in add
    self.client.post(item)
  File "/opt/hostedtoolcache/Python/3.12.4/x64/lib/python3.12/site-packages/httpx/_client.py", line 1144, in post
    return self.request(
httpx.ConnectError: [Errno 111] Connection refused
"#;

const PYTEST: &str = "
tests/test_cart.py:12: in test_total
    assert cart.total() == 3
shop/cart.py:40: in total
    raise ValueError(x)
E   ValueError: 7
shop/cart.py:41: ValueError
";

const NODE: &str = "AssertionError [ERR_ASSERTION]: 3 == 4
    at new AssertionError (node:internal/assert/assertion_error:458:5)
    at expect (~/node_modules/chai/lib/chai.js:31:9)
    at async Cart.total [as sum] (~/src/cart.ts:14:11)
    at ~/test/cart.test.ts:8:3
    at process.processTicksAndRejections (node:internal/process/task_queues:95:5)
";

const JAVA: &str = "java.lang.IllegalStateException: no stock
\tat org.junit.jupiter.api.AssertionUtils.fail(AssertionUtils.java:38)
\tat java.base/java.util.ArrayList.forEach(ArrayList.java:1511)
\tat app//com.acme.shop.Cart.lambda$add$3(Cart.java:52)
\tat com.acme.shop.Cart.add(Cart.java:50)
Caused by: java.io.IOException: broken
\tat com.acme.shop.Stock.read(Stock.kt:9)
\t... 41 more
";

const GO: &str = "panic: runtime error: index out of range [3] with length 3

goroutine 19 [running]:
testing.tRunner.func1.2({0x5133a0, 0xc0000182a0})
\t/opt/hostedtoolcache/go/1.22.4/x64/src/testing/testing.go:1631 +0x24a
panic({0x5133a0?, 0xc0000182a0?})
\t/usr/local/go/src/runtime/panic.go:770 +0x132
github.com/stretchr/testify/assert.Equal(...)
\t^/go/pkg/mod/github.com/stretchr/testify@v1.9.0/assert/assertions.go:480
github.com/acme/shop/cart.(*Cart).Total.func2.1(0xc00011e000)
\t~/cart/cart.go:27 +0x1d
github.com/acme/shop/cart.TestTotal(0xc0000f0680)
\t~/cart/cart_test.go:11 +0x3f
created by testing.(*T).Run in goroutine 1
\t/usr/local/go/src/testing/testing.go:1742 +0x390
";

const GO_TRIMMED: &str = "goroutine 1 [running]:
net/http.(*conn).serve(0xc000140000, {0x72a, 0xc1})
\tnet/http/server.go:2009 +0x5f4
github.com/acme/shop/cart.Total(...)
\tgithub.com/acme/shop/cart/cart.go:27
";

const RUST: &str = "thread 'tests::total' panicked at src/cart.rs:31:9:
assertion `left == right` failed
stack backtrace:
   0: rust_begin_unwind
             at /rustc/9fc6b43126469e3858e2fe86cafb4f0fd5068869/library/std/src/panicking.rs:665:5
   1: core::panicking::panic_fmt
             at /rustc/9fc6b43126469e3858e2fe86cafb4f0fd5068869/library/core/src/panicking.rs:74:14
   2: serde_json::value::to_value
             at ^/.cargo/registry/src/index.crates.io-6f17d22bba15001f/serde_json-1.0.128/src/value/mod.rs:9:1
   3: shop::cart::Cart::total::{{closure}}::h1f0c4b7d9ae23568
             at ./src/cart.rs:31:9
   4: core::ops::function::FnOnce::call_once
             at ^/.rustup/toolchains/stable/lib/rustlib/src/rust/library/core/src/ops/function.rs:250:5
";

const RUBY: &str = "/opt/hostedtoolcache/Ruby/3.3.4/x64/lib/ruby/gems/3.3.0/gems/rspec-core-3.13.0/lib/rspec/core/example.rb:263:in `instance_exec'
~/lib/cart.rb:12:in `block (2 levels) in total'
\tfrom ~/spec/cart_spec.rb:8:in `each'
";

const DOTNET: &str = "System.InvalidOperationException: Sequence contains no elements
   at System.Linq.ThrowHelper.ThrowNoElementsException()
   at Xunit.Assert.Equal(Object a, Object b) in /_/src/xunit.assert/Asserts/EqualityAsserts.cs:line 172
   at Shop.Cart.<Total>d__12.MoveNext() in D:\\a\\shop\\shop\\src\\Cart.cs:line 42
   at Shop.Tests.CartTests.Total() in D:\\a\\shop\\shop\\test\\CartTests.cs:line 17
";

#[test]
fn topmost_own_frame_is_found_per_language() {
    for (name, trace, expected) in [
        ("Python", PYTHON, "shop/cart.py:88 add"),
        ("pytest", PYTEST, "shop/cart.py:41 "),
        ("Node", NODE, "src/cart.ts:14 Cart.total"),
        ("Java", JAVA, "com/acme/shop/Cart.java:- com.acme.shop.Cart.lambda$add$"),
        ("Go", GO, "cart/cart.go:27 github.com/acme/shop/cart.(*Cart).Total.func."),
        ("Go, trimmed", GO_TRIMMED, "cart/cart.go:27 github.com/acme/shop/cart.Total"),
        ("Rust", RUST, "src/cart.rs:31 shop::cart::Cart::total::{{closure}}"),
        ("Rust without a backtrace", "thread 'main' panicked at src/main.rs:4:5:\nno", "src/main.rs:4 "),
        ("Ruby", RUBY, "lib/cart.rb:12 block (2 levels) in total"),
        ("Ruby 3.4", "spec/a_spec.rb:3:in 'Kernel#require': cannot load", "spec/a_spec.rb:3 Kernel#require"),
        (".NET", DOTNET, "src/Cart.cs:42 Shop.Cart.<Total>d__.MoveNext"),
    ] {
        assert_eq!(shown(trace), expected, "{name}");
    }
}

#[test]
fn checkout_folder_is_removed_elsewhere_no_line() {
    for (path, expected) in [
        ("~/src/x.js", "src/x.js:5"),
        ("/builds/acme/shop/src/x.js", "src/x.js:5"),
        ("/workspace/src/x.js", "src/x.js:5"),
        ("/workspaces/shop/src/x.js", "src/x.js:5"),
        ("/app/src/x.js", "src/x.js:5"),
        ("/__w/shop/shop/src/x.js", "src/x.js:5"),
        ("/data/agent-3/_work/shop/shop/src/x.js", "src/x.js:5"),
        ("/var/lib/jenkins/workspace/shop_PR-12/src/x.js", "src/x.js:5"),
        ("D:\\a\\shop\\shop\\src\\x.js", "src/x.js:5"),
        ("D:\\a\\1\\s\\src\\x.js", "src/x.js:5"),
        ("file:///D:/a/shop/shop/src/x.js", "src/x.js:5"),
        ("file://~/src/x.js", "src/x.js:5"),
        ("webpack:///./src/x.js", "src/x.js:5"),
        ("./src/x.js", "src/x.js:5"),
        ("~/dist/../src/x.js", "src/x.js:5"),
        ("/srv/checkout-8812/src/x.js", "/srv/checkout-{n}/src/x.js:-"),
        ("/tmp/build.aB3/x.js", "{tmp}:-"),
        ("../../../etc/passwd", "../../../etc/passwd:-"),
        ("~/../../../x.js", "~/../../../x.js:-"),
        ("/builds/x.js", "/builds/x.js:-"),
        ("~/node_modules/a/x.js", "none"),
        ("http://evil.example/x.js", "none"),
        ("node:internal/x", "none"),
        ("<anonymous>", "none"),
    ] {
        let shown = shown(&format!("E: no\n    at f ({path}:5:1)"));
        let path = shown.strip_suffix(" f").unwrap_or(&shown);
        let home = format!("{}{}", concat!("/ho", "me/runner"), concat!("/wo", "rk/shop/shop"));
        assert_eq!(path.replace(&home, "~"), expected);
    }
}

#[test]
fn moved_line_changes_only_the_line() {
    let moved = own_frame(&NODE.replace('~', "/app").replace(":14:", ":19:")).expect("a frame");
    let before = own_frame(&NODE.replace('~', "/app")).expect("a frame");
    assert_eq!((before.line, moved.line), (Some(14), Some(19)));
    assert_eq!((before.path, before.function), (moved.path, moved.function));
}

#[test]
fn long_traces_and_lines_are_bounded() {
    let many = "    at f (/usr/lib/x.js:1:1)\n".repeat(1_000_000) + "    at g (/app/x.js:1:1)";
    assert_eq!(shown(&many), "none", "text beyond the limit is not read");
    let wide = format!("    at f (/app/{}.js:1:1)\n    at g (/app/x.js:2:1)", "x".repeat(5_000));
    assert_eq!(shown(&wide), "x.js:2 g");
    let long = format!("    at {} (/app/{}/x.js:1:1)", "f".repeat(500), "d".repeat(400));
    let frame = own_frame(&long).expect("a frame");
    assert_eq!((frame.function.len(), frame.path.len(), frame.line), (200, 300, None));
}

proptest! {
    #[test]
    fn any_text_gives_safe_location(text in r#"(at |File "|in |[a-z/\\.:"'`()<>{}0-9 é\t]|:line |\.go:|\.py:|panicked at |\n){0,60}"#) {
        if let Some(frame) = own_frame(&text) {
            let location = frame.location();
            prop_assert!(location.is_none_or(|l| l.line > 0 && !l.path.starts_with('/') && !l.path.contains("..")));
        }
    }
}
