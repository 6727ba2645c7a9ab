// Answers the scripts beside it as Apache Kafka's own quota managers do. With Kafka's jars in LIBS:
//
//   java -cp 'LIBS/*' internal/quota/testdata/apache/Recorder.java internal/quota/testdata/apache/*.txt
//
// puts the answers into them. What a script may say is told in ../../apache_test.go.

import java.net.InetAddress;
import java.nio.file.*;
import java.util.*;
import org.apache.kafka.common.metrics.*;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.common.utils.MockTime;
import org.apache.kafka.network.Session;
import org.apache.kafka.server.config.ClientQuotaManagerConfig;
import org.apache.kafka.server.quota.*;

public class Recorder {
    MockTime time = new MockTime(0, 1_000_000_000L, 0);
    long begin = time.milliseconds();
    Session session;
    ClientQuotaManager rate;
    ControllerMutationQuotaManager mutations;
    boolean strict;

    void at(long millis) { time.sleep(begin + millis - time.milliseconds()); }

    String line(String line) throws Exception {
        String[] w = line.split(" ");
        switch (w[0]) {
            case "rate", "share": {
                session = new Session(new KafkaPrincipal("User", "ANONYMOUS"), InetAddress.getLoopbackAddress());
                Metrics metrics = new Metrics(new MetricConfig(), List.of(), time);
                ClientQuotaManagerConfig config = new ClientQuotaManagerConfig(Integer.parseInt(w[2]), Integer.parseInt(w[3]));
                rate = w[0].equals("rate") ? new ClientQuotaManager(config, metrics, QuotaType.PRODUCE, time, "")
                    : new kafka.server.ClientRequestQuotaManager(config, metrics, time, "", Optional.empty());
                rate.updateQuota(Optional.empty(), Optional.of(new ClientQuotaManager.ClientIdEntity("c")), Optional.of(Quota.upperBound(Double.parseDouble(w[1]))));
                mutations = null;
                return line;
            }
            case "strict", "permissive": {
                session = new Session(new KafkaPrincipal("User", "ANONYMOUS"), InetAddress.getLoopbackAddress());
                Metrics metrics = new Metrics(new MetricConfig(), List.of(), time);
                ClientQuotaManagerConfig config = new ClientQuotaManagerConfig(Integer.parseInt(w[2]), Integer.parseInt(w[3]));
                mutations = new ControllerMutationQuotaManager(config, metrics, time, "", Optional.empty());
                mutations.updateQuota(Optional.empty(), Optional.of(new ClientQuotaManager.ClientIdEntity("c")), Optional.of(Quota.upperBound(Double.parseDouble(w[1]))));
                strict = w[0].equals("strict");
                return line;
            }
        }
        at(Long.parseLong(w[0]));
        double value = Double.parseDouble(w[1]);
        if (mutations != null) {
            ControllerMutationQuota q = strict ? mutations.newStrictQuotaFor(session, "c") : mutations.newPermissiveQuotaFor(session, "c");
            try {
                q.record(value);
            } catch (org.apache.kafka.common.errors.ThrottlingQuotaExceededException e) {
                return line + ": refused, wait " + e.throttleTimeMs();
            }
            return line + ": wait " + q.throttleTime();
        }
        return line + ": wait " + rate.recordAndGetThrottleTimeMs(session, "c", value, time.milliseconds());
    }

    public static void main(String[] paths) throws Exception {
        for (String path : paths) {
            List<String> out = new ArrayList<>();
            boolean answers = false;
            Recorder r = new Recorder();
            List<String> block = new ArrayList<>();
            List<String> lines = new ArrayList<>(Files.readAllLines(Path.of(path)));
            lines.add("");
            for (String line : lines) {
                if (line.isEmpty()) {
                    if (!block.isEmpty()) {
                        out.add("----");
                        for (String b : block) out.add(r.line(b));
                    }
                    out.add("");
                    block.clear();
                    answers = false;
                } else if (line.equals("----")) {
                    answers = true;
                } else if (!answers) {
                    out.add(line);
                    if (!line.startsWith("#")) block.add(line);
                }
            }
            while (!out.isEmpty() && out.get(out.size() - 1).isEmpty()) out.remove(out.size() - 1);
            Files.write(Path.of(path), out);
        }
        System.exit(0);
    }
}
