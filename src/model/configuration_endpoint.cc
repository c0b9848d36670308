// Where something listens, as people write it: address or name with a port, URL of a web server.
#include <arpa/inet.h>

#include <algorithm>

#include "src/model/configuration_readers.h"

namespace baton {
namespace {

bool is_address(const std::string& text) {
  in6_addr address{};
  return ::inet_pton(AF_INET, text.c_str(), &address) == 1 || ::inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Whatever else is wrong with a name the resolver says.
bool is_host_name(const std::string& text) {
  const auto plain = [](char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.'; };
  const bool digits = std::all_of(text.begin(), text.end(), [](char c) { return is_digit(c) || c == '.'; });
  return !text.empty() && text.size() <= 253 && text.front() != '-' && text.front() != '.' && !digits &&
         std::all_of(text.begin(), text.end(), plain);
}

}  // namespace

std::optional<Endpoint> parse_endpoint(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  Endpoint endpoint;
  endpoint.host = text.substr(0, colon);
  const bool bracketed = endpoint.host.size() > 2 && endpoint.host.front() == '[' && endpoint.host.back() == ']';
  if (bracketed) endpoint.host = endpoint.host.substr(1, endpoint.host.size() - 2);
  const std::string port = text.substr(colon + 1);
  if (port.empty() || port.size() > 5 || !std::all_of(port.begin(), port.end(), is_digit)) return std::nullopt;
  const int number = std::stoi(port);
  if (number < 1 || number > 65535) return std::nullopt;
  endpoint.port = static_cast<uint16_t>(number);
  if (!is_address(endpoint.host)) {
    endpoint.is_name = true;
    if (bracketed || !is_host_name(endpoint.host)) return std::nullopt;
  } else if ((endpoint.host.find(':') != std::string::npos) != bracketed) {
    return std::nullopt;
  }
  return endpoint;
}

void check_url(const std::string& url, const std::string& example, const std::string& instead, SourcePosition position,
               ConfigurationFindings& findings) {
  const size_t scheme = url.starts_with("http://") ? 7 : url.starts_with("https://") ? 8 : 0;
  const std::string rest = url.substr(scheme);
  const std::string host = rest.substr(0, rest.find_first_of("/?#"));
  const bool plain = std::all_of(url.begin(), url.end(), [](char c) { return c > ' ' && c < 127; });
  if (scheme == 0 || host.empty() || !plain)
    return findings.add(position, "\"{}\" is no URL of a web server: write one like \"{}\"", url, example);
  if (host.find('@') != std::string::npos)
    findings.add(position, "the URL has a user in it, and its password would be seen in status and events: {}", instead);
}

}  // namespace baton
