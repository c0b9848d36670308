// What `baton explain` says of a group now: who waits for what.
#include "src/daemon/explain_json.h"

#include <gtest/gtest.h>

namespace baton {
namespace {

using nlohmann::json;

json status(bool serving, const std::string& waiting, bool lease) {
  return {{"server", "server1"},
          {"database", {{"serving", serving}, {"waiting", waiting}}},
          {"lease", {{"valid", lease}}},
          {"groups",
           {{{"name", "db"},
             {"phase", "started"},
             {"owner", "server1"},
             {"waiting", ""},
             {"resources", {{{"name", "data"}, {"state", "up"}}}}}}}};
}

TEST(ExplainNow, NothingIsWaitedForWhenAllIsWell) {
  const json now = explain_now(status(true, "", true), "db");
  EXPECT_EQ(now.at("owner"), "server1");
  EXPECT_TRUE(now.at("waiting").empty());
}

TEST(ExplainNow, AFrozenGroupSaysSoAndWhatIsMissing) {
  const json now = explain_now(status(false, "no majority: 1 of 3 voters are there", false), "db");
  ASSERT_EQ(now.at("waiting").size(), 2u);
  EXPECT_NE(now.at("waiting")[0].get<std::string>().find("The group is frozen"), std::string::npos);
  EXPECT_NE(now.at("waiting")[1].get<std::string>().find("no majority"), std::string::npos);
}

TEST(ExplainNow, AGroupThatWasEndedAfterTheFreezeSaysSo) {
  json without = status(false, "no majority", false);
  without["groups"][0]["resources"][0]["state"] = "down";
  EXPECT_NE(explain_now(without, "db").at("waiting")[0].get<std::string>().find("was ended here"), std::string::npos);
}

TEST(ExplainNow, WhatThePlannerWaitsForIsToldWhileThereIsAMajority) {
  json lost = status(true, "", true);
  lost["groups"][0]["owner"] = "server2";
  lost["groups"][0]["waiting"] = "server2 lost: it moves when the lease there has surely ended";
  EXPECT_EQ(explain_now(lost, "db").at("waiting")[0], lost["groups"][0]["waiting"]);
  lost["database"]["serving"] = false;
  EXPECT_TRUE(explain_now(lost, "db").at("waiting").empty());
}

TEST(ExplainNow, AGroupThatIsNotThereIsNothing) { EXPECT_TRUE(explain_now(status(true, "", true), "web").is_null()); }

}  // namespace
}  // namespace baton
