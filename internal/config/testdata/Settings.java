import java.util.*;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.coordinator.group.GroupConfig;
import org.apache.kafka.server.config.AbstractKafkaConfig;
import org.apache.kafka.server.config.DynamicBrokerConfig;
import org.apache.kafka.server.config.ServerTopicConfigSynonyms;
import org.apache.kafka.server.metrics.ClientMetricsConfigs;
import org.apache.kafka.storage.internals.log.LogConfig;

/**
 * Asks the Kafka on the class path for its settings:
 *
 *   java -cp "$(go run ./internal/clients/java)/*" internal/config/testdata/Settings.java table  > internal/config/kafka-4.3.tsv
 *   java -cp "$(go run ./internal/clients/java)/*" internal/config/testdata/Settings.java checks > internal/config/testdata/checks.tsv
 *
 * table is what exists; checks is what Kafka says to values, good and bad.
 */
public class Settings {
    public static void main(String[] args) throws Exception {
        if (args[0].equals("table")) table(); else checks();
    }

    static Map<String, ConfigDef> scopes() {
        Map<String, ConfigDef> scopes = new LinkedHashMap<>();
        scopes.put("topic", LogConfig.configDefCopy());
        scopes.put("broker", AbstractKafkaConfig.CONFIG_DEF);
        scopes.put("group", GroupConfig.CONFIG_DEF);
        scopes.put("client-metrics", ClientMetricsConfigs.configDef());
        return scopes;
    }

    static void table() throws Exception {
        System.out.println("# scope\tname\ttype\tdefault (- none)\tflags: b changes per broker, c cluster-wide, r at start only; s sensitive; i internal"
            + "\tbroker synonyms, first wins, with factor\trule: as Apache Kafka 4.3.1 defines its settings (testdata/Settings.java)");
        for (var scope : scopes().entrySet())
            for (var key : scope.getValue().configKeys().values())
                System.out.println(String.join("\t", scope.getKey(), key.name, key.type.toString().toLowerCase(), defaultOf(key),
                    flags(scope.getKey(), key), synonyms(scope.getKey(), key.name), rule(key)));
    }

    static String defaultOf(ConfigDef.ConfigKey key) {
        if (!key.hasDefault() || key.defaultValue == null) return "-";
        String text = ConfigDef.convertToString(key.defaultValue, key.type);
        return text.isEmpty() ? "\"\"" : text;
    }

    static String flags(String scope, ConfigDef.ConfigKey key) throws Exception {
        String mode = DynamicBrokerConfig.dynamicConfigUpdateModes().getOrDefault(key.name, "read-only").substring(0, 1);
        if (mode.equals("p")) mode = "b";
        if (!scope.equals("broker")) mode = "-";
        return mode + (key.type == ConfigDef.Type.PASSWORD ? "s" : "-") + (key.internalConfig ? "i" : "-");
    }

    static String synonyms(String scope, String name) throws Exception {
        List<String> all = new ArrayList<>();
        if (scope.equals("topic")) {
            for (var s : ServerTopicConfigSynonyms.ALL_TOPIC_CONFIG_SYNONYMS.getOrDefault(name, List.of())) {
                String factor = name.endsWith(".ms") ? s.converter().apply("1") : "1";
                all.add(factor.equals("1") ? s.name() : s.name() + ":" + factor);
            }
        } else if (scope.equals("group")) {
            GroupConfig.ALL_GROUP_CONFIG_SYNONYMS.getOrDefault(name, Optional.empty()).ifPresent(all::add);
        } else if (scope.equals("broker")) {
            for (String s : DynamicBrokerConfig.brokerConfigSynonyms(name, false)) all.add(s);
            if (all.equals(List.of(name))) all.clear();
        }
        return all.isEmpty() ? "-" : String.join(",", all);
    }

    /** How a validator is written here: bounds as 1..9, choices as {a|b} or i{a|b}, lists as list, list+ (not empty). */
    static String rule(ConfigDef.ConfigKey key) {
        if (key.validator == null) return "-";
        String text = key.validator.toString(), kind = key.validator.getClass().getSimpleName();
        String choices = "{" + text.replaceAll("^[^\\[]*\\[|\\]$", "").replace(", ", "|") + "}";
        switch (kind) {
            case "Range":
                return text.substring(1, text.length() - 1).replace(",...,", "..").replace(",...", "..");
            case "ValidString":
                return choices;
            case "CaseInsensitiveValidString":
                return "i" + choices;
            case "ValidList":
                return (check(key, "").isEmpty() ? "list" : "list+") + (text.isEmpty() ? "" : choices);
            case "NonEmptyString":
                return "nonempty";
            case "NonNullValidator":
                return "-";
            case "LambdaValidator":
                return "1..9|-1";
            case "Validator": // of one setting, share.auto.offset.reset
                return "autooffsetreset";
            default:
                return kind.replaceAll("Validator$", "").replaceAll("^ControllerQuorum", "").toLowerCase();
        }
    }

    static String check(ConfigDef.ConfigKey key, String value) {
        try {
            new ConfigDef().define(key).parse(Map.of(key.name, value)); // not ensureValid alone: parse drops a list's duplicates first
            return "";
        } catch (Exception e) {
            return e.getMessage();
        }
    }

    /** One broker setting of each type and rule, with values on and around its edges; topics' are in kafka_answers.json. */
    static void checks() throws Exception {
        System.out.println("# scope\tname\tvalue in quotes\tKafka's refusal, empty where the value is good (testdata/Settings.java)");
        Set<String> seen = new HashSet<>();
        for (var key : AbstractKafkaConfig.CONFIG_DEF.configKeys().values())
            if (seen.add(key.type + rule(key)))
                for (String value : values(key))
                    System.out.println(String.join("\t", "broker", key.name, "\"" + value + "\"", check(key, value)));
        for (var c : together()) {
            String refusal = "";
            try {
                LogConfig.validate(Map.of(), properties(c), Map.of(), false);
            } catch (Exception e) {
                refusal = e.getMessage();
            }
            System.out.println(String.join("\t", "together", String.join(";", c), "\"\"", refusal));
        }
        for (String pair : List.of("log.roll.ms=0", "log.roll.ms=1", "log.roll.jitter.ms=-1", "log.retention.ms=0", "log.retention.ms=-1", "log.retention.ms=-2",
            "log.retention.minutes=0", "log.retention.hours=0", "log.retention.hours=-1", "log.cleaner.io.buffer.load.factor=0", "offsets.topic.compression.codec=9",
            "replica.fetch.wait.max.ms=60000", "max.connections.per.ip=0", "connections.max.idle.ms=-1", "fetch.max.bytes=1024", "queued.max.requests=0",
            "broker.rack=x", "log.cleaner.dedupe.buffer.size=1", "log.segment.bytes=1048576", "broker.id=2", "node.id=-1", "group.min.session.timeout.ms=1")) {
            Map<String, String> all = properties(new String[]{"process.roles=broker,controller", "node.id=1", "listeners=PLAINTEXT://h:1,C://h:2", "controller.listener.names=C",
                "listener.security.protocol.map=C:PLAINTEXT,PLAINTEXT:PLAINTEXT", "controller.quorum.bootstrap.servers=h:2"});
            all.putAll(properties(new String[]{pair}));
            String refusal = "";
            try {
                new kafka.server.KafkaConfig(all);
            } catch (Exception e) {
                refusal = e.getMessage();
            }
            System.out.println(String.join("\t", "static", pair, "\"\"", refusal.replace("\n", " ")));
        }
    }

    static Map<String, String> properties(String[] pairs) {
        Map<String, String> p = new HashMap<>();
        for (String pair : pairs) p.put(pair.substring(0, pair.indexOf('=')), pair.substring(pair.indexOf('=') + 1));
        return p;
    }

    static List<String> values(ConfigDef.ConfigKey key) {
        Set<String> all = new LinkedHashSet<>(List.of("", " ", "x", " 5 ", "-1", "0", "1"));
        switch (key.type) {
            case INT: case LONG: case SHORT:
                all.addAll(List.of("1.5", "+5", "-", "+", "007", "0x10", "1e3", "1_000", "32767", "32768", "2147483647", "2147483648", "-2147483649",
                    "9223372036854775807", "9223372036854775808", "-9223372036854775808", "4 4"));
                for (String edge : rule(key).split("\\.\\.|\\|"))
                    if (edge.matches("-?\\d{1,15}")) all.addAll(List.of("" + (Long.parseLong(edge) - 1), edge, "" + (Long.parseLong(edge) + 1)));
                break;
            case DOUBLE:
                all.addAll(List.of("0.5", "1.0", "1.01", "-0.1", "1e-3", "NaN", "Infinity", "-Infinity", "0x1p-2", "1f", ".5", "1.", "inf", "1_0", "nan", "5d", "1e400"));
                break;
            case BOOLEAN:
                all.addAll(List.of("true", "TRUE", "False", " true ", "yes", "truee"));
                break;
            default:
                all.addAll(List.of("compact", "delete", "compact,delete", "delete , compact", "compact,compact", "Compact", ",", ",,", "a,", "x,,y", "producer",
                    "GZIP", "gzip", "none", "uncompressed", "CreateTime", "logappendtime", "LogAppendTime", "*", "0:1", "0:1,1:2", "0:1, 1:2", "0:x", "1:2:3", "-1:2",
                    "*,*", "bidirectional", "DISABLED", "rs256", "PLAINTEXT", "broker", "broker,controller", "requested", "1@h:9", "h:9", "java.lang.String", "no.such.Class"));
        }
        return new ArrayList<>(all);
    }

    static List<String[]> together() {
        return List.of(
            new String[]{"min.compaction.lag.ms=10", "max.compaction.lag.ms=9"}, new String[]{"min.compaction.lag.ms=10", "max.compaction.lag.ms=10"},
            new String[]{"cleanup.policy=compact", "remote.storage.enable=true"}, new String[]{"remote.storage.enable=true"},
            new String[]{"local.retention.ms=2000", "retention.ms=1000"}, new String[]{"local.retention.bytes=2000", "retention.bytes=1000"},
            new String[]{"local.retention.ms=2000", "retention.ms=1000", "remote.storage.enable=true"},
            new String[]{"remote.log.copy.disable=true"}, new String[]{"remote.log.delete.on.disable=true"},
            new String[]{"no.such=1"}, new String[]{"no.such=1", "segment.bytes=x"}, new String[]{"segment.bytes=x", "flush.ms=y"},
            new String[]{"leader.replication.throttled.replicas=0:1", "segment.ms=0"}, new String[]{"cleanup.policy="},
            new String[]{"segment.jitter.ms=5", "segment.ms=1"}, new String[]{"max.message.bytes=2000000", "segment.bytes=1048576"});
    }
}
