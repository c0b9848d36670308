// See own_server.h.
#include "src/cli/own_server.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>

#include <set>

#include "src/model/configuration_toml.h"

namespace baton::cli {
namespace {

std::set<std::string> own_addresses() {
  std::set<std::string> found;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return found;
  for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET) continue;
    char text[INET_ADDRSTRLEN] = {};
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(one->ifa_addr)->sin_addr, text, sizeof text);
    found.insert(text);
  }
  freeifaddrs(list);
  return found;
}

/// Who this server is: as told, by its identity, or by its addresses.
Result<ServerId> find_self(const Configuration& configuration, const PreflightOptions& options) {
  std::string name = options.server;
  if (name.empty()) {
    if (auto text = read_whole_file(options.configuration_directory + "/server")) name = text->substr(0, text->find('\n'));
  }
  if (!name.empty()) {
    const auto* server = configuration.server(name);
    if (server == nullptr) return fail_as(ErrorCode::kInvalid, "the configuration has no server \"{}\": give --as NAME", name);
    return server->id;
  }
  const auto own = own_addresses();
  for (const auto& server : configuration.servers)
    for (const auto& address : server.interconnects)
      if (own.contains(address)) return server.id;
  return fail_as(ErrorCode::kInvalid, "this server has none of the configuration's interconnect addresses: give --as NAME");
}

}  // namespace

Result<OwnServer> find_own_server(const PreflightOptions& options) {
  const std::string file = options.file.empty() ? options.configuration_directory + "/cluster.toml" : options.file;
  auto text = read_whole_file(file);
  if (!text) return pass(text);
  auto configuration = parse_configuration(*text, file);
  if (!configuration) return pass(configuration);
  auto self = find_self(*configuration, options);
  if (!self) return pass(self);
  return OwnServer{std::move(*configuration), *self};
}

}  // namespace baton::cli
