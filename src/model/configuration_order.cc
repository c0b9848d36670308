// Dependencies of a group's resources: what is implied, circles, and the start order.
#include <fmt/ranges.h>

#include <algorithm>

#include "src/model/configuration_readers.h"

namespace baton {
namespace {

class Ordering {
 public:
  Ordering(GroupConfiguration& group, const std::string& path, ConfigurationFindings& findings)
      : group_(group), path_(path), findings_(findings) {}

  void run() {
    bool good = true;
    for (ResourceConfiguration& resource : group_.resources) good = resolve_explicit(resource) && good;
    for (ResourceConfiguration& resource : group_.resources) add_implied(resource);
    if (good && !report_circle()) sort();
  }

 private:
  std::string path_of(const ResourceConfiguration& resource, const std::string& key) const {
    return fmt::format("{}.{}.{}.{}", path_, to_string(resource.kind), resource.name, key);
  }

  bool has_explicit(const ResourceConfiguration& resource) const {
    return findings_.position(path_of(resource, "after")).line != 0;
  }

  /// Turns the names given into the resources' own spelling.
  bool resolve_explicit(ResourceConfiguration& resource) {
    bool good = true;
    std::vector<std::string> known;
    for (const ResourceConfiguration& other : group_.resources) known.push_back(other.name);
    for (size_t place = 0; place < resource.after.size(); ++place) {
      std::string& name = resource.after[place];
      SourcePosition position = findings_.position(path_of(resource, fmt::format("after.{}", place)));
      if (const ResourceConfiguration* found = group_.find(name)) {
        name = found->name;
        continue;
      }
      std::string near = nearest_word(name, known);
      findings_.add(position, "group \"{}\" has no resource \"{}\" to come after: {}", group_.name, name,
                    near.empty() ? "remove it" : "did you mean \"" + near + "\"?");
      good = false;
    }
    return good;
  }

  static void add_after(ResourceConfiguration& resource, const std::string& name) {
    if (std::find(resource.after.begin(), resource.after.end(), name) == resource.after.end()) {
      resource.after.push_back(name);
    }
  }

  void add_implied(ResourceConfiguration& resource) {
    if (resource.kind == ResourceKind::kFilesystem) {
      if (!resource.filesystem.mirror.empty()) add_after(resource, resource.filesystem.mirror);
      for (const ResourceConfiguration& other : group_.resources) {
        // A mount point inside another filesystem exists only once that one is mounted.
        bool inside = other.kind == ResourceKind::kFilesystem && !other.filesystem.mount_point.empty() &&
                      resource.filesystem.mount_point.starts_with(other.filesystem.mount_point + "/");
        if (inside) add_after(resource, other.name);
      }
    }
    if (runs_programs(resource.kind) && !has_explicit(resource)) {
      for (const ResourceConfiguration& other : group_.resources) {
        if (!runs_programs(other.kind)) add_after(resource, other.name);
      }
    }
  }

  /// Follows dependencies depth first; a resource met again on the way down closes a circle.
  bool find_circle(const std::string& name, std::vector<std::string>& way, std::map<std::string, bool>& done) {
    auto on_way = std::find(way.begin(), way.end(), name);
    if (on_way != way.end()) {
      way.erase(way.begin(), on_way);
      way.push_back(name);
      return true;
    }
    if (done[name]) return false;
    way.push_back(name);
    for (const std::string& before : group_.find(name)->after) {
      if (find_circle(before, way, done)) return true;
    }
    way.pop_back();
    done[name] = true;
    return false;
  }

  bool report_circle() {
    std::map<std::string, bool> done;
    for (const ResourceConfiguration& resource : group_.resources) {
      std::vector<std::string> way;
      if (!find_circle(resource.name, way, done)) continue;
      SourcePosition position = resource.position;
      for (const std::string& name : way) {
        const ResourceConfiguration* member = group_.find(name);
        if (!has_explicit(*member)) continue;
        position = findings_.position(path_of(*member, "after"));
        break;
      }
      findings_.add(
          position,
          "the resources of group \"{}\" wait for one another in a circle: {} (\"x after y\" is written x -> "
          "y; "
          "filesystems come after their mirror, services and scripts without \"after\" after everything else): remove one "
          "name from an \"after\"",
          group_.name, fmt::join(way, " -> "));
      return true;
    }
    return false;
  }

  /// Among those whose dependencies are placed, the lowest kind first, then the order of the file.
  void sort() {
    std::vector<ResourceConfiguration> left = std::move(group_.resources);
    std::stable_sort(left.begin(), left.end(),
                     [](const auto& one, const auto& two) { return one.kind < two.kind; });
    std::vector<ResourceConfiguration> sorted;
    auto placed = [&sorted](const std::string& name) {
      return std::any_of(sorted.begin(), sorted.end(),
                         [&](const auto& resource) { return resource.name == name; });
    };
    while (!left.empty()) {
      auto next = std::find_if(left.begin(), left.end(), [&](const ResourceConfiguration& resource) {
        return std::all_of(resource.after.begin(), resource.after.end(), placed);
      });
      sorted.push_back(*next);
      left.erase(next);
    }
    group_.resources = std::move(sorted);
  }

  GroupConfiguration& group_;
  const std::string& path_;
  ConfigurationFindings& findings_;
};

}  // namespace

void order_resources(GroupConfiguration& group, const std::string& path, ConfigurationFindings& findings) {
  Ordering(group, path, findings).run();
}

}  // namespace baton
