// The target of an HTTP request, "/v1/events?after=17", taken apart. Pure, any thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace baton {

struct HttpTarget {
  std::string path;
  std::map<std::string, std::string> query;
};

/// Nothing when it does not begin with "/", has a wrong percent sign, or a zero byte.
std::optional<HttpTarget> parse_http_target(std::string_view target);

}  // namespace baton
