import java.util.*;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.utils.*;
import org.apache.kafka.common.metadata.*;
import org.apache.kafka.coordinator.common.runtime.*;
import org.apache.kafka.coordinator.group.*;
import org.apache.kafka.coordinator.group.assignor.*;
import org.apache.kafka.coordinator.group.api.assignor.*;
import org.apache.kafka.coordinator.group.generated.*;
import org.apache.kafka.coordinator.group.modern.*;
import org.apache.kafka.coordinator.group.modern.consumer.*;
import org.apache.kafka.image.*;
import org.apache.kafka.timeline.SnapshotRegistry;

// Assignments writes assignments-4.3.1.json: groups whose members come and go, with the targets that the assignors of Apache Kafka
// compute. Run: java -cp "<the jars of Kafka 4.3.1>" Assignments.java 120 | tr -d " \n" | gzip -9n
public class Assignments {
  static String hex(Uuid u) { return String.format("%016x%016x", u.getMostSignificantBits(), u.getLeastSignificantBits()); }
  static String asg(Map<Uuid, Set<Integer>> a) {
    TreeMap<String, TreeSet<Integer>> m = new TreeMap<>();
    a.forEach((k, v) -> { if (!v.isEmpty()) m.put(hex(k), new TreeSet<>(v)); });
    StringBuilder b = new StringBuilder("{"); String sep = "";
    for (var e : m.entrySet()) { b.append(sep).append('"').append(e.getKey()).append("\":").append(e.getValue()); sep = ","; }
    return b.append("}").toString();
  }
  public static void main(String[] args) throws Exception {
    int scenarios = Integer.parseInt(args[0]);
    System.out.println("[");
    for (int sc = 0; sc < scenarios; sc++) {
      Random r = new Random(1000 + sc);
      MetadataDelta delta = new MetadataDelta.Builder().setImage(MetadataImage.EMPTY).build();
      int nt = 1 + r.nextInt(6);
      List<String> names = new ArrayList<>();
      StringBuilder topics = new StringBuilder(); 
      Map<String,Uuid> ids = new HashMap<>();
      for (int i = 0; i < nt; i++) {
        Uuid id = new Uuid(r.nextLong(), r.nextLong()); String name = "topic-" + r.nextInt(1000) + "-" + i; int parts = 1 + r.nextInt(sc % 4 == 0 ? 40 : 12);
        names.add(name); ids.put(name, id);
        delta.replay(new TopicRecord().setTopicId(id).setName(name));
        for (int p = 0; p < parts; p++) delta.replay(new PartitionRecord().setTopicId(id).setPartitionId(p).setReplicas(List.of(0)).setIsr(List.of(0)).setLeader(0));
        topics.append(i == 0 ? "" : ",").append(String.format("{\"id\":\"%s\",\"name\":\"%s\",\"partitions\":%d,\"hash\":%%HASH%d%%}", hex(id), name, parts, i));
      }
      MetadataImage image = delta.apply(MetadataProvenance.EMPTY);
      CoordinatorMetadataImage cmi = new KRaftCoordinatorMetadataImage(image);
      String ts = topics.toString();
      for (int i = 0; i < nt; i++) ts = ts.replace("%HASH" + i + "%", "\"" + Utils2.topicHash(names.get(i), cmi) + "\"");
      ConsumerGroup group = new ConsumerGroup(new LogContext(), new SnapshotRegistry(new LogContext()), "g");
      PartitionAssignor assignor = sc % 3 == 0 ? new RangeAssignor() : new UniformAssignor();
      boolean homo = sc % 2 == 0;
      if (sc > 0) System.out.println(",");
      System.out.println("{\"assignor\":\"" + assignor.name() + "\",\"topics\":[" + ts + "],\"steps\":[");
      int steps = 6 + r.nextInt(10); int epoch = 1;
      for (int st = 0; st < steps; st++) {
        String ev; List<String> live = new ArrayList<>(new TreeSet<>(group.members().keySet()));
        int what = r.nextInt(10);
        if (live.isEmpty() || what < 6) {
          String id = r.nextInt(3) == 0 ? "member-" + r.nextInt(100000) : new Uuid(r.nextLong(), r.nextLong()).toString();
          String inst = r.nextInt(4) == 0 ? "inst-" + r.nextInt(1000) + "-" + st : null;
          List<String> sub = new ArrayList<>();
          for (String n : names) if (homo || r.nextInt(3) > 0) sub.add(n);
          if (sub.isEmpty()) sub.add(names.get(0));
          Collections.sort(sub);
          ConsumerGroupMember m = new ConsumerGroupMember.Builder(id).setInstanceId(inst).setSubscribedTopicNames(sub).build();
          group.updateMember(m);
          ev = "\"join\":\"" + id + "\"" + (inst == null ? "" : ",\"instance\":\"" + inst + "\"") + ",\"topics\":" + js(sub);
        } else if (what < 9 || homo) {
          String id = live.get(r.nextInt(live.size()));
          group.removeTargetAssignment(id); group.removeMember(id);
          ev = "\"leave\":\"" + id + "\"";
        } else {
          String id = live.get(r.nextInt(live.size()));
          List<String> sub = new ArrayList<>();
          for (String n : names) if (r.nextInt(3) > 0) sub.add(n);
          Collections.sort(sub);
          ConsumerGroupMember m = new ConsumerGroupMember.Builder(group.members().get(id)).setSubscribedTopicNames(sub).build();
          group.updateMember(m);
          ev = "\"join\":\"" + id + "\"" + (m.instanceId() == null ? "" : ",\"instance\":\"" + m.instanceId() + "\"") + ",\"topics\":" + js(sub);
        }
        epoch++;
        var b = new TargetAssignmentBuilder.ConsumerTargetAssignmentBuilder("g", epoch, assignor);
        b.withTime(Time.SYSTEM).withMembers(group.members()).withStaticMembers(group.staticMembers()).withSubscriptionType(group.subscriptionType())
         .withTargetAssignment(group.targetAssignment()).withInvertedTargetAssignment(group.invertedTargetAssignment()).withMetadataImage(cmi);
        var res = b.build();
        for (CoordinatorRecord rec : res.records()) {
          if (rec.key() instanceof ConsumerGroupTargetAssignmentMemberKey k)
            group.updateTargetAssignment(k.memberId(), Assignment.fromRecord((ConsumerGroupTargetAssignmentMemberValue) rec.value().message()));
        }
        StringBuilder out = new StringBuilder("{"); String sep = "";
        for (String id : new TreeSet<>(group.members().keySet())) { out.append(sep).append('"').append(id).append("\":").append(asg(group.targetAssignment(id).partitions())); sep = ","; }
        System.out.println((st == 0 ? "" : ",") + "{" + ev + ",\"homogeneous\":" + (group.subscriptionType() == SubscriptionType.HOMOGENEOUS) + ",\"hash\":\"" + Utils2.groupHash(group, cmi) + "\",\"result\":" + out + "}}");
      }
      System.out.print("]}");
    }
    System.out.println("]");
  }
  static String js(List<String> l) { StringBuilder b = new StringBuilder("["); for (int i = 0; i < l.size(); i++) b.append(i == 0 ? "" : ",").append('"').append(l.get(i)).append('"'); return b.append("]").toString(); }
  static class Utils2 {
    static long topicHash(String n, CoordinatorMetadataImage i) { return org.apache.kafka.coordinator.group.Utils.computeTopicHash(n, i); }
    static long groupHash(ConsumerGroup g, CoordinatorMetadataImage i) { return ModernGroup.computeMetadataHash(g.subscribedTopicNames(), new HashMap<>(), i); }
  }
}
