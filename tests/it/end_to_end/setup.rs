//! Setup of the App by a person with a browser: from an empty folder to a successful `doctor`, and
//! the requests that `/setup` refuses.

use std::os::unix::fs::PermissionsExt;

use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use tempfile::TempDir;

use super::DEADLINE;
use crate::fake_github::app::WEBHOOK_SECRET;
use crate::fake_github::state::{Installation, Repository};
use crate::fake_github::{FakeGitHub, Fault, Matcher};
use crate::service::{Builder, Service};
use crate::time::eventually;
use crate::webhooks::{self, delivery};

struct Operator {
    fake: FakeGitHub,
    folder: TempDir,
    builder: Builder,
    browser: Client,
}

impl Operator {
    async fn new() -> Self {
        let fake = FakeGitHub::start().await;
        let folder = TempDir::new().expect("a temporary folder");
        let builder = Service::builder().sqlite_in(folder.path()).env("PACEGATE_GITHUB_API_URL", &fake.url());
        let browser = Client::builder().redirect(Policy::none()).build().expect("a client");
        Self { fake, folder, builder, browser }
    }

    /// The code in the logged address.
    fn code(service: &Service) -> String {
        let line = service.log().into_iter().find(|line| line.contains("/setup?code=")).expect("a line");
        line.split("/setup?code=")
            .nth(1)
            .expect("a code")
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect()
    }

    async fn get(&self, url: &str) -> Response {
        self.browser.get(url).send().await.expect("an answer")
    }

    /// Submits the first page's form.
    async fn answer(&self, service: &Service, code: &str, more: &str) -> Response {
        let form = format!("code={code}&public_url={}{more}", service.url().replace(':', "%3A"));
        let request = self.browser.post(format!("{}/setup", service.url()));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        request.send().await.expect("an answer")
    }

    /// Submits the second page's form. Returns the address that GitHub redirects the browser to,
    /// and the cookie for it.
    async fn agree(&self, page: Response) -> (String, String) {
        let cookie = page.headers()["set-cookie"].to_str().expect("text").to_owned();
        assert!(cookie.contains("HttpOnly; SameSite=Lax"), "{cookie}");
        let cookie = cookie.split(';').next().expect("a pair").to_owned();
        let policy = page.headers()["content-security-policy"].to_str().expect("text").to_owned();
        assert!(policy.contains(&format!("form-action {};", self.fake.url())), "{policy}");
        let html = page.text().await.expect("a page");
        let form = html.split("class=\"setup\"").nth(1).expect("the form");
        let action = unescaped(between(form, "action=\"", "\""));
        let manifest = unescaped(between(form, "name=\"manifest\" value=\"", "\""));
        let mut address = reqwest::Url::parse("http://form/").expect("an address");
        address.query_pairs_mut().append_pair("manifest", &manifest);
        let request = self.browser.post(action).body(address.query().expect("a form").to_owned());
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 302);
        (answer.headers()["location"].to_str().expect("text").to_owned(), cookie)
    }

    async fn come_back(&self, address: &str, cookie: &str) -> (u16, String) {
        let answer = self.browser.get(address).header("cookie", cookie).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a page"))
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    text.split(before).nth(1).and_then(|rest| rest.split(after).next()).expect(before)
}

fn unescaped(html: &str) -> String {
    html.replace("&#34;", "\"").replace("&quot;", "\"").replace("&amp;", "&").replace("&#38;", "&")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn setup_from_empty_folder_ends_with_green_doctor() {
    let operator = Operator::new().await;
    let service = operator.builder.start().await;
    let code = Operator::code(&service);
    let first = operator.get(&format!("{}/setup?code={code}", service.url())).await;
    assert_eq!(first.status(), 200);
    assert!(first.text().await.expect("a page").contains(&format!("value=\"{}\"", service.url())));
    let page = operator.answer(&service, &code, "&organisation=acme&merge_queues=yes").await;
    assert_eq!(page.status(), 200);
    let (back, cookie) = operator.agree(page).await;
    let (status, done) = operator.come_back(&back, &cookie).await;
    assert_eq!(status, 200, "{done}");
    assert!(
        done.contains(&format!("{}/apps/pacegate-acme/installations/new", operator.fake.url())),
        "{done}"
    );
    assert!(!done.contains("PRIVATE KEY") && !done.contains(WEBHOOK_SECRET));

    let file = operator.folder.path().join("pacegate-app.json");
    let mode = std::fs::metadata(&file).expect("the App's file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let app = operator.fake.current_app().expect("an App");
    assert_eq!(app.permissions["merge_queues"], "read");
    assert_eq!(app.permissions["actions"], "read", "reruns were not chosen");
    assert!(app.events.contains(&"merge_group".to_owned()));
    assert_eq!(app.hook_url, format!("{}/webhook", service.url()));

    // The same process now has the App and accepts deliveries signed with GitHub's secret.
    operator.fake.installation(Installation::new(99, "acme"));
    let repository = Repository { installation: Some(99), ..Repository::new(1, "acme/app") };
    operator.fake.repository(99, repository.clone());
    let created =
        delivery("installation", &webhooks::installation("created", 99, &[&repository]), WEBHOOK_SECRET);
    eventually("the service to take deliveries", DEADLINE, || async {
        let answer = created.to(&operator.browser, &service.url()).send().await.ok()?;
        (answer.status() == 202).then_some(())
    })
    .await;
    let secrets =
        service.log().iter().filter(|l| l.contains("PRIVATE KEY") || l.contains(WEBHOOK_SECRET)).count();
    assert_eq!(secrets, 0, "no secret in the log");

    let gone = operator.get(&format!("{}/setup?code={code}", service.url())).await;
    assert_eq!(gone.status(), 404, "setup stays closed");
    assert_eq!(operator.get(&format!("{}/setup/done?installation_id=1", service.url())).await.status(), 200);

    let doctor = operator.builder.run(&["doctor"]);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert_eq!(doctor.status.code(), Some(0), "{said}");
    for part in
        ["permissions and events it needs", "signed JSON", "clock agrees", "acme: 1 repositories (acme/app)"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    service.terminate().await;
    let again = operator.builder.start().await;
    assert!(!again.log().iter().any(|line| line.contains("/setup?code=")), "the App is already set up");
    again.terminate().await;
    operator.fake.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn setup_refuses_wrong_codes_browsers_and_states() {
    let operator = Operator::new().await;
    let service = operator.builder.start().await;
    let code = Operator::code(&service);
    for path in ["/setup", "/setup?code=", "/setup?code=0123456789012345678901234567890123456789"] {
        let answer = operator.get(&format!("{}{path}", service.url())).await;
        assert_eq!(answer.status(), 403, "{path}");
        assert!(!answer.text().await.expect("a page").contains(&code));
    }
    assert_eq!(operator.answer(&service, "wrong", "").await.status(), 403);
    for (more, problem) in [
        ("&organisation=a/b", "letters, digits"),
        ("&public_url=x", "duplicate"),
        ("&organisation=%3Cscript%3E", "letters"),
    ] {
        let page = operator.answer(&service, &code, more).await.text().await.expect("a page");
        assert!(page.contains(problem) && !page.contains("<script"), "{more}: {page}");
    }
    // Another browser, another state, no state, and a second use of a valid state.
    let (back, cookie) = operator.agree(operator.answer(&service, &code, "").await).await;
    let (other, other_cookie) = operator.agree(operator.answer(&service, &code, "").await).await;
    let forged = other.replace("state=", "state=0");
    for (address, cookie) in
        [(&back, "pacegate_setup=0"), (&back, ""), (&back, &other_cookie), (&forged, &cookie)]
    {
        assert_eq!(operator.come_back(address, cookie).await.0, 403, "{address} {cookie}");
    }
    assert!(operator.fake.current_app().is_none());
    // After a failure of GitHub the same address still works.
    operator.fake.fault(Matcher::on("POST", "/conversions"), Fault::BadGateway);
    assert_eq!(operator.come_back(&back, &cookie).await.0, 502);
    assert_eq!(operator.come_back(&back, &cookie).await.0, 200);
    assert_eq!(operator.fake.count_of("apps/create-from-manifest"), 2);
    eventually("the first state to become invalid", DEADLINE, || async {
        let answer = operator.browser.get(&back).header("cookie", &cookie).send().await.ok()?;
        (answer.status() == 404).then_some(())
    })
    .await;
    service.terminate().await;
    operator.fake.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unwritable_app_file_prevents_app_creation() {
    let operator = Operator::new().await;
    let nowhere = operator.builder.clone().env("PACEGATE_APP_FILE", "/no/such/folder/app.json");
    let service = nowhere.start().await;
    let code = Operator::code(&service);
    let answer = operator.get(&format!("{}/setup?code={code}", service.url())).await;
    assert_eq!(answer.status(), 500);
    assert!(answer.text().await.expect("a page").contains("/no/such/folder/app.json"));
    service.terminate().await;

    let closed = operator.builder.clone().arguments(&["--no-setup"]).start().await;
    assert_eq!(operator.get(&format!("{}/setup?code={code}", closed.url())).await.status(), 404);
    closed.terminate().await;

    let file = operator.folder.path().join("pacegate-app.json");
    std::fs::write(&file, "{}").expect("a writable folder");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("our own file");
    let refused = operator.builder.run(&["serve"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("chmod 600"));
    operator.fake.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_reports_missing_app_settings_and_remedies() {
    let fake = FakeGitHub::with_repository("acme/app").await;
    let folder = TempDir::new().expect("a temporary folder");
    let builder = Service::builder()
        .sqlite_in(folder.path())
        .github(&fake)
        .env("PACEGATE_PUBLIC_URL", "https://pacegate.example.com");
    fake.change_app(|app| {
        app.permissions.remove("checks");
        app.permissions.remove("contents");
        app.hook_url = "https://elsewhere.example.com/webhook".to_owned();
        app.failed_deliveries = 3;
    });
    fake.set_clock_ahead(95);
    let output = builder.run(&["doctor"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in [
        "PROBLEM  the App has checks:none but needs checks:write",
        "note     the App has contents:none",
        "settings/apps/pacegate/permissions",
        "does not get the event workflow_run",
        "GitHub delivers to https://elsewhere.example.com/webhook",
        "3 deliveries of the last day failed",
        "s behind GitHub's",
        "acme: 1 repositories (acme/app); 4999 of 5000 calls left",
    ] {
        assert!(said.contains(part), "{part}:\n{said}");
    }
    fake.finish();
}
