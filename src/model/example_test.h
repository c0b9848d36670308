// For tests of single tables: a configuration of two servers and a group `web`, to which they add what they are about.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "src/model/configuration_toml.h"

namespace baton {

inline Configuration read_with(const std::string& tables) {
  auto parsed = parse_configuration(R"([cluster]
name = "demo"
public_lan = "10.0.0.0/24"
[server.server1]
id = 1
interconnects = ["10.0.1.1"]
[server.server2]
id = 2
interconnects = ["10.0.1.2"]
[group.web]
servers = ["server1", "server2"]
[group.web.service.nginx]
command = ["/usr/sbin/nginx"]
)" + tables);
  EXPECT_TRUE(parsed) << parsed.error().message;
  return parsed ? *parsed : Configuration{};
}

}  // namespace baton
