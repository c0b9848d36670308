// Templates are read, filled in, and what does not fit is said in their own words.
#include "src/model/group_template.h"

#include <gtest/gtest.h>

namespace baton {
namespace {

const std::string kText = R"(# A web server.
#
# packages: nginx-light curl
# units: nginx.service
# set address: the floating address: one of ours
# set size = 1 GiB: of the mirror disk
# set store = /var/lib/baton/store/{{group}}.img: of the mirror disk
#
# Remarks = as you like: here.

[group.{{group}}]
servers = [{{servers}}]
[group.{{group}}.mirror.data]
size = "{{size}}"  # of both
store = "{{store}}"
[group.{{group}}.address.ip]
address = "{{address}}"
[group.{{group}}.service.nginx]
command = ["{{baton}}/run", "{{address}}"]
)";

const TemplatePlace kPlace = {"web", {"server1", "server2"}, "/usr/lib/baton"};

GroupTemplate parsed(const std::string& text = kText) {
  const auto source = parse_template("web", text, "web.toml");
  EXPECT_TRUE(source) << source.error().message;
  return source.value_or(GroupTemplate{});
}

std::string changed(const std::string& from, const std::string& to) {
  std::string text = kText;
  return text.replace(text.find(from), from.size(), to);
}

std::string wrong_text(const std::string& text) {
  const auto source = parse_template("web", text, "web.toml");
  return source ? "nothing" : source.error().message;
}

std::string wrong_values(const TemplatePlace& place, const std::map<std::string, std::string>& given) {
  const auto filled = fill_template(parsed(), place, given);
  return filled ? "nothing" : filled.error().message;
}

TEST(GroupTemplate, TheHeadIsRead) {
  const GroupTemplate source = parsed();
  EXPECT_EQ(source.summary, "A web server.");
  EXPECT_EQ(source.packages, (std::vector<std::string>{"nginx-light", "curl"}));
  EXPECT_EQ(source.units, (std::vector<std::string>{"nginx.service"}));
  ASSERT_EQ(source.values.size(), 3u);
  EXPECT_EQ(source.values[0].name, "address");
  EXPECT_FALSE(source.values[0].usual);
  EXPECT_EQ(source.values[0].text, "the floating address: one of ours");
  EXPECT_EQ(source.values[1].usual, "1 GiB");
  EXPECT_EQ(source.values[2].usual, "/var/lib/baton/store/{{group}}.img");
  EXPECT_TRUE(source.body.starts_with("[group.{{group}}]\n")) << source.body;
}

TEST(GroupTemplate, PlacesAreFilledIn) {
  const auto filled = fill_template(parsed(), kPlace, {{"address", "10.0.0.50"}, {"size", "2 GiB"}});
  ASSERT_TRUE(filled) << filled.error().message;
  EXPECT_EQ(*filled, R"([group.web]
servers = ["server1", "server2"]
[group.web.mirror.data]
size = "2 GiB"  # of both
store = "/var/lib/baton/store/web.img"
[group.web.address.ip]
address = "10.0.0.50"
[group.web.service.nginx]
command = ["/usr/lib/baton/run", "10.0.0.50"]
)");
}

TEST(GroupTemplate, WhatIsMissingOrUnknownIsNamed) {
  EXPECT_EQ(wrong_values(kPlace, {}), "template web has to be told:\n  --set address=...  the floating address: one of ours");
  EXPECT_EQ(wrong_values(kPlace, {{"adress", "x"}}), "template web has no value \"adress\": did you mean \"address\"?");
  EXPECT_EQ(wrong_values(kPlace, {{"colour", "x"}}), "template web has no value \"colour\": its values are address, size, store");
}

TEST(GroupTemplate, AValueCannotLeaveItsPlace) {
  for (const char* value : {"10.0.0.50\"\nuser = \"root", "a\\", "a\tb", "{{group}}"})
    EXPECT_NE(wrong_values(kPlace, {{"address", value}}).find("the value of \"address\" has "), std::string::npos) << value;
  EXPECT_NE(wrong_values({"web.mirror", {"server1"}, ""}, {{"address", "a"}}).find("\"web.mirror\" cannot be a name"), std::string::npos);
  EXPECT_NE(wrong_values({"web", {"a\", \"b"}, ""}, {{"address", "a"}}).find("there is no server"), std::string::npos);
}

TEST(GroupTemplate, HeadAndBodyHaveTheSamePlaces) {
  EXPECT_EQ(wrong_text(changed("{{address}}\"\n", "{{adress}}\"\n")), "web.toml:17: {{adress}} is not declared: did you mean {{address}}?");
  EXPECT_EQ(wrong_text(changed("{{size}}", "1 GiB")), "web.toml: \"size\" is declared, but {{size}} is nowhere: remove the declaration");
  EXPECT_EQ(wrong_text(changed("# set size", "# set address")), "web.toml:6: \"address\" is declared twice: remove one");
  EXPECT_EQ(wrong_text(changed("# set size", "# set group")), "web.toml:6: \"group\" is filled in by Baton: remove the line");
  EXPECT_NE(wrong_text(changed("# set size = 1 GiB: of the mirror disk", "# set size = 1 GiB")).find("web.toml:6: a value is declared as"),
            std::string::npos);
  EXPECT_NE(wrong_text(changed("{{group}}.img:", "{{size}}.img:")).find("may have {{group}} in it, but not {{size}}"), std::string::npos);
  EXPECT_NE(wrong_text(changed("[{{servers}}]", "[\"server1\"]")).find("begins its group with"), std::string::npos);
  EXPECT_EQ(wrong_text("[group.web]\n"), "web.toml:1: a template begins with \"# \" and a sentence that says what it is");
}

TEST(GroupTemplate, AMisfitIsToldInItsWords) {
  const std::string above = "[cluster]\nname = \"pair\"\n";
  const auto filled = fill_template(parsed(), kPlace, {{"address", "10.9.0.50"}});
  ASSERT_TRUE(filled);
  const auto told = [&](const std::string& problem) { return explain_misfit(parsed(), above, *filled, problem); };
  EXPECT_EQ(told("cluster.toml:9:11: address 10.9.0.50 is outside the public LAN: use one inside it"),
            "template web: [group.web.address.ip] address = \"10.9.0.50\": address 10.9.0.50 is outside the public LAN: use one inside it "
            "(--set address=...)");
  EXPECT_EQ(told("cluster.toml:4:12: unknown server \"x\""),
            "template web: [group.web] servers = [\"server1\", \"server2\"]: unknown server \"x\" (--servers)");
  EXPECT_EQ(told("cluster.toml:3:1: no"), "template web: [group.web]: no");
  for (const char* other : {"cluster.toml:2:1: not ours", "cluster.toml:12:1: below", "no majority"}) EXPECT_EQ(told(other), other);
}

}  // namespace
}  // namespace baton
