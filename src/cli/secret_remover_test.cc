// What must not be left in a text that goes out, and what must be.
#include "src/cli/secret_remover.h"

#include <gtest/gtest.h>

namespace baton::cli {
namespace {

std::string clean(const std::string& text) { return SecretRemover().clean(text); }

TEST(SecretRemover, TakesOutWhatIsKnownWhereverItStands) {
  SecretRemover remover;
  remover.add_secret("hunter\"22");
  EXPECT_EQ(remover.clean("it said hunter\"22, twice: xhunter\"22x"), "it said [removed], twice: x[removed]x");
  EXPECT_EQ(remover.clean(R"({"a": "hunter\"22"})"), R"({"a": "[removed]"})");
  EXPECT_EQ(remover.removed(), 3u);
  remover.add_secret("abc");
  EXPECT_EQ(remover.clean("abc"), "abc");  // would be everywhere
}

TEST(SecretRemover, TakesOutPrivateKeysAndLongNumbers) {
  EXPECT_EQ(clean("a\n-----BEGIN EC PRIVATE KEY-----\nMHc\n-----END EC PRIVATE KEY-----\nb"), "a\n[removed]\nb");
  EXPECT_EQ(clean("a -----BEGIN PRIVATE KEY-----\nMHc cut off"), "a [removed]");
  EXPECT_EQ(clean("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"),
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----");
  EXPECT_EQ(clean("key " + std::string(128, 'a') + "."), "key [removed].");
  EXPECT_EQ(clean("key " + std::string(64, 'F')), "key [removed]");
  EXPECT_EQ(clean("commit " + std::string(40, 'a')), "commit " + std::string(40, 'a'));
}

TEST(SecretRemover, TakesOutWhatIsNamedSecret) {
  const char* cases[][2] = {
      {"password = \"s3cret word\"", "password = \"[removed]\""},
      {"password: 12345", "password: [removed]"},
      {"PGPASSWORD=hunter2 psql", "PGPASSWORD=[removed] psql"},
      {"MYSQL_PWD='hunter2'", "MYSQL_PWD='[removed]'"},
      {"{\"api_token\": \"abcdef\", \"a\": 1}", "{\"api_token\": \"[removed]\", \"a\": 1}"},
      {"{\\\"token\\\": \\\"abcdef\\\"}", "{\\\"token\\\": \\\"[removed]\\\"}"},
      {"Authorization: Basic dXNlcjpwYXNz, and\nmore", "Authorization: [removed]\nmore"},
      {"Bearer abc.def-ghi", "Bearer [removed]"},
      {"[\"app\", \"--password\", \"hunter2\"]", "[\"app\", \"--password\", \"[removed]\"]"},
      {"app --password=hunter2 -v", "app --password=[removed] -v"},
      {"app --token hunter2 -v", "app --token [removed] -v"},
      {"postgres://user:hunter2@host/db", "postgres://user:[removed]@host/db"},
  };
  for (const auto& one : cases) EXPECT_EQ(clean(one[0]), one[1]);
}

TEST(SecretRemover, LeavesWhatIsNone) {
  for (const char* text :
       {"    token: 500\n    token_coefficient: 0\n", "timing = { token = \"800 ms\" }", "token 500 ms + consensus 600 ms",
        "keyfile: /run/baton/corosync/authkey", "a token was lost in the FAILED TO RECEIVE state", "http://host:80/x@y",
        "the password is wrong", "pinned: yes", "{\"expected_ms\": 1350}", "monkey: yes"})
    EXPECT_EQ(clean(text), text);
}

constexpr const char* kConfiguration = R"([cluster]
name = "demo"
timing = { token = "800 ms" }
[server.server1]
id = 1
interconnects = ["10.0.1.1"]
[group.db]
servers = ["server1"]
[group.db.service.app]
command = ["/bin/app", "--secret", "argument-secret"]
environment = { LANG = "C.UTF-8", DSN = "host=db word=plain-value", PGPASSWORD = "pw77" }
)";

TEST(SecretRemover, KnowsTheSecretsOfAConfiguration) {
  SecretRemover remover;
  const auto text = remover.clean_configuration(kConfiguration);
  EXPECT_EQ(text.find("argument-secret"), std::string::npos) << text;
  EXPECT_EQ(text.find("plain-value"), std::string::npos) << text;
  EXPECT_EQ(text.find("pw77"), std::string::npos) << text;
  EXPECT_NE(text.find("PGPASSWORD"), std::string::npos) << text;
  EXPECT_NE(text.find("800 ms"), std::string::npos) << text;
  EXPECT_EQ(remover.clean("cannot connect with host=db word=plain-value"), "cannot connect with [removed]");
  EXPECT_EQ(remover.clean("ps: /bin/app argument-secret pw77 C.UTF-8"), "ps: /bin/app [removed] [removed] C.UTF-8");
}

TEST(SecretRemover, CleansAConfigurationThatCannotBeRead) {
  SecretRemover remover;
  const auto text = remover.clean_configuration(std::string(kConfiguration) + "\n[[[\n");
  for (const char* secret : {"argument-secret", "plain-value", "pw77"})
    EXPECT_EQ(text.find(secret), std::string::npos) << secret << "\n" << text;
}

TEST(SecretRemover, CleansJson) {
  SecretRemover remover;
  const auto value = nlohmann::json::parse(R"({"password": "a", "list": [{"token": "abc"}, "Bearer xyz"], "token": "500 ms"})");
  EXPECT_EQ(remover.clean_json(value).dump(),
            R"({"list":[{"token":"[removed]"},"Bearer [removed]"],"password":"[removed]","token":"500 ms"})");
}

}  // namespace
}  // namespace baton::cli
