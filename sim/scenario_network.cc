// Cables, one-way cuts, and the rings that follow from them.
#include "sim/scenario_network.h"

#include <algorithm>

#include "src/model/configuration_network.h"

namespace baton::sim {

ScenarioNetwork::ScenarioNetwork(const Configuration& configuration) {
  size_t networks = 0;
  const auto public_lan = parse_network(configuration.public_lan);
  bool shared = false;
  for (const auto& server : configuration.servers) {
    interconnects_[server.id] = server.interconnects.size();
    networks = std::max(networks, server.interconnects.size());
    for (size_t place = 0; public_lan && place < server.interconnects.size(); ++place) {
      if (!public_lan->contains(parse_ipv4(server.interconnects[place]).value_or(0))) continue;
      public_ = place;  // the public LAN serves as an interconnect, too: one cable for both
      shared = true;
    }
  }
  for (size_t place = 0; place < networks; ++place) names_["interconnect" + std::to_string(place + 1)] = place;
  if (!shared) public_ = networks;
  names_["public"] = public_;
}

Status ScenarioNetwork::set_plugged(ServerId server, const std::string& network, bool plugged) {
  const auto named = names_.find(network);
  if (named == names_.end()) return fail("no network {}: there are interconnect1 ... and public", network);
  if (plugged) {
    out_.erase({server, named->second});
  } else {
    out_.insert({server, named->second});
  }
  return {};
}

void ScenarioNetwork::set_all_plugged(ServerId server, bool plugged) {
  for (const auto& [name, place] : names_) {
    if (plugged) {
      out_.erase({server, place});
    } else {
      out_.insert({server, place});
    }
  }
}

void ScenarioNetwork::set_mirror_open(ServerId server, bool open) {
  if (open) {
    mirror_closed_.erase(server);
  } else {
    mirror_closed_.insert(server);
  }
}

void ScenarioNetwork::set_way_open(ServerId from, ServerId to, bool open) {
  if (open) {
    cut_ways_.erase({from, to});
  } else {
    cut_ways_.insert({from, to});
  }
}

void ScenarioNetwork::heal() {
  out_.clear();
  cut_ways_.clear();
  mirror_closed_.clear();
}

bool ScenarioNetwork::reach(ServerId one, ServerId other) const {
  if (one == other) return true;
  if (cut_ways_.contains({one, other}) || cut_ways_.contains({other, one})) return false;
  const size_t common = std::min(interconnects_.at(one), interconnects_.at(other));
  for (size_t place = 0; place < common; ++place)
    if (!out_.contains({one, place}) && !out_.contains({other, place})) return true;
  return false;
}

bool ScenarioNetwork::mirror_reach(ServerId one, ServerId other) const {
  return reach(one, other) && !mirror_closed_.contains(one) && !mirror_closed_.contains(other);
}

bool ScenarioNetwork::public_plugged(ServerId server) const { return !out_.contains({server, public_}); }

std::vector<std::set<ServerId>> ScenarioNetwork::rings(const std::set<ServerId>& engines, uint64_t turn) const {
  std::vector<ServerId> order(engines.begin(), engines.end());
  if (!order.empty()) std::rotate(order.begin(), order.begin() + static_cast<ptrdiff_t>(turn % order.size()), order.end());
  std::vector<std::set<ServerId>> rings;
  for (const ServerId server : order) {
    const auto fits = [&](const std::set<ServerId>& ring) {
      return std::all_of(ring.begin(), ring.end(), [&](ServerId member) { return reach(server, member); });
    };
    const auto found = std::find_if(rings.begin(), rings.end(), fits);
    if (found == rings.end()) {
      rings.push_back({server});
    } else {
      found->insert(server);
    }
  }
  return rings;
}

bool ScenarioNetwork::unsettled(const std::set<ServerId>& engines) const {
  for (const ServerId one : engines)
    for (const ServerId other : engines)
      for (const ServerId third : engines)
        if (reach(one, other) && reach(other, third) && !reach(one, third)) return true;
  return false;
}

}  // namespace baton::sim
